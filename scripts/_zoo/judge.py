"""What an engine computes, held against torch, without edgepress.

The runtimes are opened as their manuals say, or by the loader that lies beside an engine.
"""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .model import Feed

Values: TypeAlias = dict[str, np.ndarray[Any, Any]]
Run: TypeAlias = Callable[[Feed], Values]
# Least SQNR of an engine that is called right, dB. fp32 on OpenVINO is bf16 where the processor has it, which leaves
# about 8 bits; int8's is the least that `edgepress export --help` promises.
LEAST_DB = {"fp32": 30.0, "fp16": 30.0, "int8": 10.0}
# An engine this much below its own graph is wrong, unless it is still good.
STRAYS_DB, STILL_GOOD_DB = 10.0, 30.0
# A report that says so much more than is there overstates, unless what is there is still enough for its precision.
OVERSTATED_DB, ENOUGH_DB = 10.0, {"fp32": 60.0, "fp16": 40.0, "int8": 30.0}
_CLAIMS = (
    re.compile(r"worst output (\S+) dB of SQNR against FP32 on \d+ calibration samples"),
    re.compile(r"calibration samples: (\S+) dB of SQNR at the worst output"),
)
LEAST_AGREEMENT = {"fp32": 0.99, "fp16": 0.97, "int8": 0.7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The worst output of an engine.

    Attributes:
        sqnr_db: of the engine against torch; the agreement of integers counts as 100 dB or -100.
        graph_db: of the graph that it was compiled from, run by onnxruntime without optimization.
        swing_db: as `sqnr_db`, of what changes from sample to sample alone.
        output: which output that is.
        size: bytes of the engine, or of the graph where there is none.
        judged: the file that was run.
    """

    sqnr_db: float
    graph_db: float
    swing_db: float
    output: str
    size: int
    judged: str

    def verdict(self, precision: str) -> str:
        """`works` or `wrong`."""
        strays = self.graph_db - self.sqnr_db > STRAYS_DB and self.sqnr_db < STILL_GOOD_DB
        return "wrong" if self.sqnr_db < LEAST_DB[precision] or strays else "works"

    def overstated(self, claimed: float | None, precision: str) -> bool:
        """The report has a figure, dB, that held-out data are far from."""
        return claimed is not None and self.sqnr_db < min(claimed - OVERSTATED_DB, ENOUGH_DB[precision])

    def line(self) -> dict[str, Any]:
        """For a line of results."""
        return {key: round(value, 2) if isinstance(value, float) else value for key, value in asdict(self).items()}


def judge(bundle: Path, precision: str, feeds: list[Feed], wanted: list[Values]) -> Judgement:
    """A bundle on held-out inputs, given what torch makes of them."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    names = [spec["name"] for spec in manifest["model"]["outputs"]]
    path = _runnable(bundle)
    got, graph = ([run(feed) for feed in feeds] for run in (_opened(path, names), plain(bundle / "model.onnx", names)))
    found = {
        name: (against(wanted, got, name, i, precision), against(wanted, graph, name, i, precision))
        for i, name in enumerate(names)
    }
    worst = min(found, key=lambda name: found[name][0][0])
    (sqnr, swing), (of_graph, _) = found[worst]
    files = [file for file in path.parent.iterdir() if file.is_file()] if path.parent.name == "engine" else [path]
    return Judgement(
        sqnr_db=sqnr, graph_db=of_graph, swing_db=swing, output=worst, judged=str(path.relative_to(bundle)),
        size=sum(file.stat().st_size for file in files),
    )  # fmt: skip


def opened(bundle: Path, names: list[str]) -> Run:
    """A bundle's engine, opened as its runtime's manual says."""
    return _opened(_runnable(bundle), names)


def claimed_db(report: Mapping[str, Any]) -> float | None:
    """The least that a report says of graph and engine on calibration samples, dB, at most 150; None for nothing.

    What was seen of the captured graph says nothing of int8, whose graph is another.
    """
    of = _CLAIMS[:1] if report["precision"] == "int8" else _CLAIMS
    claims = ((claim, said["claim"]) for claim in of for said in report["evidence"])
    found = [float(match[1]) for claim, said in claims if (match := claim.search(said))]
    return min(150.0, *found) if found else None


def _runnable(bundle: Path) -> Path:
    """The engine where this machine can run it, else its graph."""
    for name in ("model.xml", "model.onnx", "model.ort"):
        if (bundle / "engine" / name).exists():
            return bundle / "engine" / name
    return bundle / "model.onnx"


def _opened(path: Path, names: list[str]) -> Run:
    if path.suffix != ".xml":
        return _onnxruntime(path, names, optimized=True)
    import openvino

    loader = path.with_name("load.py")
    compiled = runpy.run_path(str(loader))["load"]() if loader.exists() else openvino.Core().compile_model(path, "CPU")

    def run(feed: Feed) -> Values:
        results = compiled(feed)
        return {name: np.array(results[name]) for name in names}

    return run


def plain(path: Path, names: list[str]) -> Run:
    """A graph as onnxruntime runs it without optimization."""
    return _onnxruntime(path, names, optimized=False)


def _onnxruntime(path: Path, names: list[str], *, optimized: bool) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feed: dict(zip(names, session.run(names, feed), strict=True))


def against(wanted: list[Values], got: list[Values], name: str, index: int, precision: str) -> tuple[float, float]:
    """SQNR of one output in dB, and that of its change from sample to sample."""
    right = [values[name] if name in values else list(values.values())[index] for values in wanted]
    found = [values[name] for values in got]
    if any(a.shape != b.shape for a, b in zip(right, found, strict=True)):
        return -100.0, -100.0
    flat, other = (np.concatenate([array.reshape(len(array), -1) for array in arrays]) for arrays in (right, found))
    if flat.dtype.kind not in "fc":
        agrees = float(np.mean(flat == other)) >= LEAST_AGREEMENT[precision]
        return (100.0, 100.0) if agrees else (-100.0, -100.0)
    finite, error = signal_and_error(flat, other)
    return sqnr_db(finite, error), sqnr_db(finite - finite.mean(0), error - error.mean(0))


def signal_and_error(right: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """In float64; what is not finite, and the same in both, counts as nothing."""
    right, found = right.astype(np.float64), found.astype(np.float64)
    same = (right == found) | (np.isnan(right) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, found - right)
    return np.where(np.isfinite(right), right, 0.0), error


def sqnr_db(signal: np.ndarray[Any, Any], error: np.ndarray[Any, Any]) -> float:
    """The energy of a signal over that of its error, between -100 and 150 dB."""
    noise = float(np.sum(error**2))
    if not np.isfinite(noise):
        return -100.0
    if noise <= 1e-12 * signal.size:  # a millionth of one, at outputs that are next to nothing
        return 150.0
    return float(np.clip(10 * np.log10(max(float(np.sum(signal**2)), 1e-30) / noise), -100, 150))


def flattened(result: Any) -> Values:
    """The tensors of a module's result as arrays."""
    return {name: tensor.detach().numpy() for name, tensor in tensors(result).items()}


def tensors(result: Any, name: str = "") -> dict[str, Any]:
    """The tensors of a module's result, in its order; those of a dict by its keys."""
    if result is None:
        return {}
    if hasattr(result, "detach"):
        return {name or "output": result}
    items = result.items() if isinstance(result, Mapping) else enumerate(result)
    found: dict[str, Any] = {}
    for key, value in items:
        found |= tensors(value, f"{name}_{key}" if name else str(key) if isinstance(key, str) else f"output_{key}")
    return found
