"""Whole numbers that a runtime does not hold, where an engine strays: hashes, times, products of ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...backends.base import Backend, Feed, Graph
from ...backends.places import GraphValues
from ...backends.places.reference import with_inner_outputs
from ..graphs.files import read_model

if TYPE_CHECKING:
    import onnx_ir as ir

_WIDE = frozenset({"INT64", "UINT64", "UINT32"})
WAY_OUT = (
    "Bring them into that range outside of the model, as by a remainder or a place in a table, or export for a target "
    "of another runtime, as server-cpu."
)


def beyond_bits(graph: Graph, feed: Feed, backend: Backend) -> str:
    """The first value with numbers beyond what the runtime computes in, as one sentence; empty where it holds all."""
    if backend.integer_bits >= 64:
        return ""
    inner = [str(value.name) for value in _computed(read_model(graph.path).graph)]
    path = graph.path.with_name(f"integers-of-{graph.path.name}")
    path.write_bytes(with_inner_outputs(graph.path, inner))
    try:
        with GraphValues(path, kernels="float") as values:
            found = {**feed, **values(feed, inner)}
    finally:
        path.unlink()
    largest = 2 ** (backend.integer_bits - 1) - 1
    for name, array in found.items():
        if array.dtype.kind in "iu" and array.size and np.abs(array.astype(np.float64)).max() > largest:
            return f"{backend.name} computes whole numbers in {backend.integer_bits} bits, and {name!r} goes beyond."
    return ""


def _computed(graph: ir.Graph) -> Iterator[ir.Value]:
    """Whole numbers that nodes make, in their order."""
    outputs = set(graph.outputs)
    for node in graph:
        yield from (one for one in node.outputs if one not in outputs and one.dtype and one.dtype.name in _WIDE)
