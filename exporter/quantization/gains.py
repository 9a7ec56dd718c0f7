"""What each accuracy lift is worth on this model, by trying it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...backends.base import Array, Feed, Graph
from ...backends.places import Reference
from ...calibration.feeds import samples_in
from ...calibration.statistics import Statistics
from ...profiles.device.target import Target
from ...profiles.findings.parity import parity, worst
from ..recipe import Recipe
from .lifts import LIFTS
from .quantizer import Quantizer

# A lift that costs more than this, in dB of SQNR, is left out; less is noise of the few samples it is tried on.
HARM_DB = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """The lifts to apply, the SQNR with them in dB on the samples named, and a sentence each for the report."""

    lifts: tuple[str, ...]
    sqnr_db: float
    samples: str
    sentences: tuple[str, ...]


def worthwhile(
    reference: Graph,
    target: Target,
    recipe: Recipe,
    statistics: Statistics,
    feeds: Sequence[Feed],
    kind: str,
    scratch: Path,
) -> Gains:
    """Try the lifts one after the other on top of those kept.

    Args:
        feeds: batches to judge on; the graphs run on the reference place.
        kind: what the samples in them are, for the report.
    """
    assert target.scheme is not None
    scheme = target.scheme
    expected = _run(reference, target, feeds)

    def write(lifts: tuple[str, ...]) -> tuple[Graph, dict[str, str]]:
        path = scratch / f"lifts-{len(lifts)}.onnx"
        notes = Quantizer.of(reference, scheme, recipe.exclude, recipe.ranges, lifts).write(statistics, path)
        return replace(reference, path=path), notes

    def score(graph: Graph) -> float:
        return worst(parity(expected, _run(graph, target, feeds))).sqnr_db

    kept: tuple[str, ...] = ()
    before = score(write(kept)[0])
    samples = sum(samples_in(feed) for feed in feeds)
    sentences = [f"int8 without lifts: {before:.1f} dB of SQNR on {samples} {kind}."]
    for name in LIFTS.names() if recipe.lifts is None else recipe.lifts:
        graph, notes = write((*kept, name))
        if name not in notes:
            continue
        after = score(graph)
        wanted = recipe.lifts is not None or after >= before - HARM_DB
        verdict = "" if wanted else ", so it was left out"
        sentences.append(f"Lift {name} ({notes[name]}): {before:.1f} to {after:.1f} dB{verdict}.")
        if wanted:
            kept, before = (*kept, name), after
    return Gains(lifts=kept, sqnr_db=before, samples=f"{samples} {kind}", sentences=tuple(sentences))


def _run(graph: Graph, target: Target, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
    place = Reference()
    with place.open(place.runs(graph, target, "fp32", None)) as session:
        return [session(feed) for feed in feeds]
