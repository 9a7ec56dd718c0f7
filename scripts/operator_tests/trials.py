"""One operator test and one target: exported, and its engine held against the outputs that the test expects."""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from forked import Job, outcomes, prepare, unguarded
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

TARGETS = ("cpu", "server-cpu")
# Beside a test's own tolerance, which asks more near 0 than sums in float32 hold: a share of the largest value.
NOISE = 1e-4
# Tests that one process does: importing the runtimes takes longer than a test.
TOGETHER = 12
# What a report says of an engine that is not exact on such data.
KNOWN = "makes the largest number of an infinity"
KINDS = ("simple", "pytorch-operator", "pytorch-converted")


def run(results: Path, processes: int) -> None:
    """Run what is not in the file of results, and append a line each."""
    results.parent.mkdir(parents=True, exist_ok=True)
    lines = results.read_text().splitlines() if results.exists() else []
    known = {(found["test"], found["target"]) for found in map(json.loads, lines)}
    with tempfile.TemporaryDirectory(prefix="operators-") as scratch, results.open("a") as out:
        prepare(Path(scratch))
        for found in outcomes(jobs(Path(scratch), known), processes, TOGETHER):
            out.write(json.dumps(judged(found)) + "\n")
            out.flush()


def jobs(scratch: Path, known: set[tuple[str, str]]) -> Iterator[Job]:
    """Every test and target that is not known, its model and data in a directory."""
    for test in tests():
        for target in TARGETS:
            if (test.name, target) not in known:
                directory = scratch / f"{test.name}-{target}"
                directory.mkdir()
                model, data = _parts(test)
                onnx.save(model, directory / "model.onnx")
                record = {"test": test.name, "target": target, "operators": _operators(model)}
                work = partial(trial, target, model, data, test.rtol, test.atol)
                yield Job(record=record, directory=directory, work=work)


def tests() -> list[Any]:
    """The operator tests, and the small models that lie in the package; the first of each operator, then the second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [test for kind in ("node", *KINDS) for test in load_model_tests(kind=kind)]
    seen: Counter[tuple[str, ...]] = Counter()
    ranked = []
    for test in found:
        operators = tuple(_operators(_parts(test)[0]))
        seen[operators] += 1
        ranked.append((len(operators) > 1, seen[operators], len(ranked), test))
    return [test for *_, test in sorted(ranked, key=lambda entry: entry[:3])]


def trial(target: str, model: onnx.ModelProto, data: list[Any], rtol: float, atol: float) -> int:
    """Export, run, compare: prints how it ended and why as one line of JSON.

    What crashes ends this process only, so the export need not try the file in another.
    """
    from edgepress import export
    from edgepress.backends.places import engine_place
    from edgepress.errors import EdgepressError

    unguarded()
    feeds = _feeds(model, data)
    try:
        bundle = export(
            Path("model.onnx"), target=target, precision="fp32", measure=False, output="out", calibration=feeds
        )
        assert bundle.engine is not None
        with engine_place(bundle.manifest.target, "").open(bundle.engine, 1) as session:
            fault = _fault(model, data, session, rtol, atol)
    except EdgepressError as error:
        return _say("refused", str(error))
    if not fault:
        return _say("right", "")
    if _plainly(model, data, rtol, atol) == fault:
        return _say("unlike", f"onnxruntime runs the file so as well: {fault}")
    if KNOWN in (bundle.path / "report.md").read_text():
        return _say("told", f"the report says of it: {KNOWN}; {fault}")
    return _say("wrong", fault)


def _plainly(model: onnx.ModelProto, data: list[Any], rtol: float, atol: float) -> str:
    """The same, of onnxruntime without optimization; "" where that does not run the file."""
    try:
        return _fault(model, data, _plain(Path("model.onnx")), rtol, atol)
    except Exception:  # whatever the runtime raises
        return ""


def _plain(path: Path) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """The file, run by onnxruntime without optimization."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, feed), strict=True))


def _say(ended: str, why: str) -> int:
    print("\nSAID " + json.dumps([ended, why[:600]]), file=sys.stderr)
    return 0


def _feeds(model: onnx.ModelProto, data: list[Any]) -> list[dict[str, np.ndarray]] | None:
    """The test's inputs, which show in what range an operator works; None where they are no numbers."""
    names = _inputs(model)
    feeds = [dict(zip(names, inputs, strict=False)) for inputs, _ in data]
    arrays = [array for feed in feeds for array in feed.values()]
    plain = all(isinstance(a, np.ndarray) and a.dtype.kind in "fiub" and np.isfinite(a).all() for a in arrays)
    return feeds if arrays and plain else None


def _inputs(model: onnx.ModelProto) -> list[str]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in constants]


def _fault(model: onnx.ModelProto, data: list[Any], session: Any, rtol: float, atol: float) -> str:
    """The first output that is not as expected."""
    names = _inputs(model)
    results = [value.name for value in model.graph.output]
    for inputs, expected in data:
        found = session(dict(zip(names, map(np.asarray, inputs), strict=False)))
        for name, wanted in zip(results, expected, strict=True):
            if fault := _differs(found[name], np.asarray(wanted), rtol, atol):
                return f"{name}: {fault}"
    return ""


def _differs(found: np.ndarray, wanted: np.ndarray, rtol: float, atol: float) -> str:
    if found.shape != wanted.shape:
        return f"shape {found.shape}, expected {wanted.shape}"
    if found.dtype == np.uint8 and wanted.dtype.kind == "V":  # onnxruntime gives the bytes of a float8
        wanted = wanted.view(np.uint8)
    if found.dtype != wanted.dtype:
        return f"type {found.dtype}, expected {wanted.dtype}"
    if wanted.dtype.kind not in "fc":
        return "" if np.array_equal(found, wanted) else f"{np.mean(found != wanted):.0%} of the values differ"
    finite = np.abs(wanted[np.isfinite(wanted)])
    noise = NOISE * float(finite.max()) if finite.size else 0.0
    close = np.isclose(found, wanted, rtol=rtol, atol=max(atol, noise), equal_nan=True)
    return "" if close.all() else f"{np.mean(~close):.0%} of the values differ, by up to {_most(found, wanted):.2g}"


def _most(found: np.ndarray, wanted: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return float(np.nanmax(np.abs(found.astype(np.float64) - wanted.astype(np.float64))))


def _parts(test: Any) -> tuple[onnx.ModelProto, list[Any]]:
    """The model and its data, in memory or from the package's files."""
    if test.model is not None:
        return test.model, [([_array(a) for a in inputs], [_array(a) for a in out]) for inputs, out in test.data_sets]
    folder = Path(test.model_dir)
    sets = [(_arrays(place, "input"), _arrays(place, "output")) for place in sorted(folder.glob("test_data_set_*"))]
    return onnx.load(folder / "model.onnx"), sets


def _array(value: Any) -> Any:
    """Tensors of types that numpy lacks are kept as messages in the package, and some scalars are no arrays."""
    whole = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    return np.asarray(whole) if isinstance(whole, np.generic) else whole


def _arrays(place: Path, what: str) -> list[Any]:
    files = sorted(place.glob(f"{what}_*.pb"), key=lambda file: int(file.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(file)) for file in files]


def _operators(model: onnx.ModelProto) -> list[str]:
    return sorted({node.op_type for node in model.graph.node})


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """How a test ended, and why."""
    words = found.pop("words")
    if found["ended"] is None:
        said = [line for line in words.splitlines() if line.startswith("SAID ")]
        found["ended"], found["why"] = json.loads(said[-1][5:]) if said else ("traceback", words[-3000:])
    else:
        found["why"] = words[-300:]
    return found
