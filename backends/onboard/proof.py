"""What the golden inputs of a bundle show of an engine on the device."""

import os
from typing import Any, Dict, List, NamedTuple, Optional

from .agreement import Agreement, agreements, by_feed, infer
from .arrays import RawArray, read_npz
from .orders import BuildError
from .sessions import OpenPlan


class Proof(NamedTuple):
    """The agreement of each output with the FP32 model.

    Attributes:
        least_db: that each of them must reach.
        why_not: why nothing was run, a clause; empty where it was.
    """

    outputs: Dict[str, Agreement]
    least_db: float
    why_not: str

    def said(self) -> str:
        """In a sentence."""
        if self.why_not:
            return "Not verified: {}.".format(self.why_not)
        worst = min(one.sqnr_db for one in self.outputs.values())
        return "Golden outputs reproduced on this device: {:.1f} dB, {:g} needed.".format(worst, self.least_db)

    def recorded(self) -> Dict[str, Any]:
        """For a file; JSON has no infinity, and None is an output that is equal."""
        if self.why_not:
            return {"ran": False, "why": self.why_not}
        outputs = {
            name: {"sqnr_db": _finite(one.sqnr_db), "max_abs": _finite(one.max_abs)}
            for name, one in self.outputs.items()
        }
        return {"ran": True, "least_db": self.least_db, "outputs": outputs}


def unproven(why_not: str) -> Proof:
    """Nothing was run."""
    return Proof({}, 0.0, why_not)


def prove(plan: OpenPlan, directory: str, manifest: Dict[str, Any]) -> Proof:
    """Run the golden inputs.

    Args:
        directory: of the golden files.
        manifest: of the bundle, which says what must be reached.

    Raises:
        BuildError: an output is too far from the FP32 model's, or from what the graph itself gives.
    """
    files = {name: os.path.join(directory, name + ".npz") for name in ("inputs", "outputs", "graph")}
    if not (os.path.exists(files["inputs"]) and os.path.exists(files["outputs"])):
        return unproven("the bundle has no golden inputs and outputs")
    answers = [infer(plan, feed) for feed in by_feed(read_npz(files["inputs"]))]
    least = float(manifest["minimum_sqnr_db"])
    found = _held(files["outputs"], answers, least, "the FP32 model")
    least_graph = manifest.get("minimum_graph_db")
    if least_graph is not None and os.path.exists(files["graph"]):
        _held(files["graph"], answers, float(least_graph), "its own graph")
    return Proof(found, least, "")


def _held(file: str, answers: List[Dict[str, RawArray]], least: float, what: str) -> Dict[str, Agreement]:
    found = agreements(by_feed(read_npz(file)), answers)
    far = ["output {!r} {:.1f} dB".format(name, one.sqnr_db) for name, one in found.items() if not one.reaches(least)]
    if far:
        raise BuildError(
            "verification",
            "The engine does not reach the {:g} dB of agreement with {} that the golden inputs ask for: {}.".format(
                least, what, ", ".join(far)
            ),
            "Nothing was written. Export again with layers in float (--exclude), or in a higher precision.",
        )
    return found


def _finite(value: float) -> Optional[float]:
    return None if value in (float("inf"), float("-inf")) else value
