"""Where a candidate's graph falls below what is asked of it: values inside of it against those of the FP32 graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....backends.base import Array, Feed, Graph
from ....backends.places import GraphValues
from ...graphs.files import read_model
from ...quantization.noise import FEWEST_SAMPLES, decibel, fewer, noise_ratio

if TYPE_CHECKING:
    import onnx_ir as ir

# Values that are fetched in one run: all at once would hold every activation of the model.
_AT_ONCE = 32
_FLOATS = frozenset({"FLOAT", "FLOAT16"})
# Beyond it a number is a mask, as of what attention leaves out, and no amount that a precision may miss.
_MASK = 1e30


def falling_short(graph: Graph, reference: Graph, feed: Feed, asked_db: float) -> str:
    """The first node whose result has less than that against FP32, one sentence; empty where none of both has.

    Args:
        graph: of the candidate, whose values have the names of the reference's where they are the same.
        feed: a batch, of which a few samples are run.
    """
    few = fewer(feed, reference, FEWEST_SAMPLES)
    ours = {name for name, _ in _floats(graph.path)}
    shared = [(name, node) for name, node in _floats(reference.path) if name in ours]
    for start in range(0, len(shared), _AT_ONCE):
        nodes = dict(shared[start : start + _AT_ONCE])
        right, found = (_values(one.path, list(nodes), few) for one in (reference, graph))
        for name, node in nodes.items():
            if (seen := _sqnr_db(right[name], found[name])) < asked_db:
                return f" The first node below that is {str(node.name)!r} ({node.op_type}, {seen:.1f} dB)."
    return ""


def _floats(path: Path) -> Iterator[tuple[str, ir.Node]]:
    """What the nodes of a graph compute, in order."""
    for node in read_model(path).graph:
        value = node.outputs[0] if node.outputs else None
        if value is None or not value.name or node.op_type == "Cast":
            continue
        if value.dtype is not None and value.dtype.name in _FLOATS:
            yield value.name, node


def _values(path: Path, names: Sequence[str], feed: Feed) -> Mapping[str, Array]:
    own = {str(value.name) for value in read_model(path).graph.outputs}
    with GraphValues(path, [name for name in names if name not in own]) as values:
        return values(feed, names)


def _sqnr_db(right: Array, found: Array) -> float:
    """Of what is not finite, nothing is left; masks are passed over."""
    amounts = ~(np.isfinite(right) & (np.abs(right) > _MASK))
    right, wide = right[amounts], found.astype(np.float32)[amounts]
    if not np.array_equal(np.isfinite(wide), np.isfinite(right)):
        return -np.inf
    kept = np.isfinite(right)
    return decibel(noise_ratio(right[kept], wide[kept]))
