"""What a made bundle gives, held against plain onnxruntime on the very file that was exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edgepress.exporter.bundle.manifest import Bundle

# Rounding of two runtimes beside the largest value, in float; what a quantized engine keeps at least.
NOISE, LEAST_DB = 1e-3, 10.0
# What an export says of data that show nothing of the model's range: it was told, and is no falsehood.
TOLD = "is the same for all inputs"
SPREADS = (1.0, 30.0, 0.0)


def falsehood(model: Path, bundle: Path) -> str:
    """How the bundle's engine parts from the model, which onnxruntime runs as it is: "" where it does not.

    Inputs are normal numbers, small, large and zero where the engine is float, at each size that the axes have.
    """
    from edgepress.backends.places import engine_place
    from edgepress.exporter.bundle.manifest import load_bundle

    made = load_bundle(bundle)
    engine = made.engine
    if engine is None:
        return "there is no engine"
    try:
        original = _plain(model)
    except Exception as error:  # whatever the runtime raises
        return f"onnxruntime does not load the file itself: {str(error)[:300]}"
    exact = engine.precision == "fp32"
    if not exact and TOLD in (bundle / "report.md").read_text():
        return ""
    with engine_place(made.manifest.target, "").open(engine, 1) as session:
        for feed in _feeds(made, SPREADS if exact else SPREADS[:1]):
            try:
                wanted = original(feed)
            except Exception as error:  # whatever the runtime raises
                return f"onnxruntime does not run the file itself: {str(error)[:300]}"
            if fault := _parts(session(feed), wanted, exact=exact):
                return fault
    return ""


def _plain(model: Path) -> Any:
    """The file, run by onnxruntime without optimization."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feed: list(zip(names, session.run(names, feed), strict=True))


def _feeds(made: Bundle, spreads: tuple[float, ...]) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(7)
    axes = made.manifest.model.axes
    sizes = [{name: getattr(reach, what) for name, reach in axes.items()} for what in ("smallest", "usual")]
    for size in [one for i, one in enumerate(sizes) if one not in sizes[:i]]:
        for spread in spreads:
            shapes = {
                spec.name: ([size.get(n, n) for n in spec.shape], spec.dtype) for spec in made.manifest.model.inputs
            }
            yield {
                name: (rng.normal(size=shape) * spread).astype(np.dtype(dtype))
                for name, (shape, dtype) in shapes.items()
            }


def _parts(found: dict[str, np.ndarray], wanted: list[tuple[str, np.ndarray]], *, exact: bool) -> str:
    """By place, since a damaged file may list one output twice."""
    names = [name for name, _ in wanted]
    if len(found) != len(names) or not set(names) <= found.keys():
        return f"outputs {list(found)}, expected {names}"
    pairs = zip(names, found.values(), (array for _, array in wanted), strict=True)
    return next((f"{name}: {fault}" for name, one, other in pairs if (fault := _differs(one, other, exact))), "")


def _differs(found: np.ndarray, wanted: np.ndarray, exact: bool) -> str:
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return f"{found.dtype} {found.shape}, expected {wanted.dtype} {wanted.shape}"
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(all="ignore"):
        if exact:
            largest = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
            close = np.isclose(a, b, rtol=NOISE, atol=NOISE * largest, equal_nan=True)
            return (
                ""
                if close.all()
                else f"{np.mean(~close):.0%} of the values differ, by up to {np.nanmax(abs(a - b)):.2g}"
            )
        decibels = 10 * np.log10(np.sum(b * b) / np.sum((a - b) ** 2))
    return f"{decibels:.1f} dB" if not decibels >= LEAST_DB and (a != b).any() else ""
