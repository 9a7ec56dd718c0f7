"""Run a graph over feeds and keep statistics of chosen tensors; nothing accumulates with the number of samples."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from ..backends.base import Array, Graph
from ..errors import InputError
from .feeds import Feeds, samples_in
from .statistics import Statistics, TensorStatistics


def collect(graph: Graph, tensors: Collection[str], feeds: Feeds, seen: Callable[[int], None]) -> Statistics:
    """One pass over the feeds.

    Args:
        graph: the float graph.
        tensors: names of the values to observe, graph inputs among them.
        feeds: checked calibration data.
        seen: called after each batch with the number of samples in it.

    Raises:
        InputError: no data, or a tensor of the model became NaN or Inf (which one, and by which sample).
    """
    inside = sorted(set(tensors) - {spec.name for spec in graph.inputs})
    states: dict[str, TensorStatistics] = {}
    samples = 0
    with tempfile.TemporaryDirectory(prefix="edgepress-") as scratch:
        session = _session(_exposed(graph, inside, Path(scratch)))
        for feed in feeds():
            values = dict(zip(inside, session.run(inside, dict(feed)), strict=True)) if inside else {}
            for name in tensors:
                _update(states, name, values.get(name, feed.get(name)), samples)
            samples += samples_in(feed)
            seen(samples_in(feed))
    missing = [name for name in tensors if name not in states]
    if missing:
        raise InputError(f"Calibration never produced a value of {missing[0]!r}: the data set is empty there.")
    return Statistics(graph=graph.digest, samples=samples, tensors=states)


def _update(states: dict[str, TensorStatistics], name: str, array: Array | None, samples: int) -> None:
    if array is None or array.size == 0:
        return
    state = TensorStatistics.of(array)
    if not (np.isfinite(state.minimum) and np.isfinite(state.maximum)):
        bad = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        raise InputError(
            f"The model's tensor {name!r} became NaN or Inf at calibration sample {samples + bad}.",
            hint="Look at that sample, or exclude the layer from int8 with --exclude.",
        )
    states[name] = states[name].merge(state) if name in states else state


def _exposed(graph: Graph, tensors: Sequence[str], scratch: Path) -> Path:
    """A copy of the graph whose outputs are the observed tensors; the weights stay where they are, not copied twice."""
    import onnx_ir as ir

    model = ir.load(graph.path)
    by_name = {value.name: value for node in model.graph for value in node.outputs}
    model.graph.outputs.clear()
    model.graph.outputs.extend(by_name[name] for name in tensors)
    if not tensors:  # a model whose only quantized tensors are its inputs still needs one output to be valid
        model.graph.outputs.append(next(iter(reversed(list(model.graph)))).outputs[0])
    path = scratch / "observed.onnx"
    ir.save(model, path, external_data="observed.data")
    return path


def _session(path: Path):  # type: ignore[no-untyped-def]  # onnxruntime ships no types
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    # The default order keeps every observed tensor alive to the end; this one frees them.
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
