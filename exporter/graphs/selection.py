"""Which outputs of a graph are sets of rows that data select: those behind a non-maximum suppression."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Graph
from ...profiles.findings.rows import Rows

if TYPE_CHECKING:
    import onnx_ir as ir

SELECTS = frozenset({"NonMaxSuppression"})
# Where the number of rows is fixed, they lie behind the batch.
_BEHIND_BATCH = 1


def selected_rows(graph: Graph) -> tuple[Rows, ...]:
    """The sets of rows among a graph's outputs, each along its axis.

    Outputs that have their rows along the same axis, of the same length, are one set: boxes, scores and classes. The
    axis is the first whose length depends on data, else the second. An output of one value a sample is in no set.
    """
    behind = _behind(graph.path, graph.digest)
    sets: dict[tuple[int, int | str], list[str]] = {}
    for spec in graph.outputs:
        if spec.name in behind:
            free = [axis for axis, size in enumerate(spec.shape) if isinstance(size, str) and _depends(size, graph)]
            axis = free[0] if free else _BEHIND_BATCH
            if axis < len(spec.shape):
                sets.setdefault((axis, spec.shape[axis]), []).append(spec.name)
    return tuple(Rows(outputs=tuple(names), axis=axis) for (axis, _), names in sets.items())


def selects(model: ir.Model) -> bool:
    """Whether a graph has a non-maximum suppression."""
    return any(node.op_type in SELECTS and not node.domain for node in model.graph.all_nodes())


def _depends(size: str, graph: Graph) -> bool:
    """Whether a length is that of no free axis of the inputs: data decide it."""
    given = {axis for spec in graph.inputs for axis in spec.shape if isinstance(axis, str)}
    return size not in given and size not in graph.axes


@lru_cache
def _behind(path: Path, digest: str) -> frozenset[str]:
    """Names of the outputs that are computed of what a suppression selects.

    Args:
        digest: of the file, which may be written anew.
    """
    import onnx_ir as ir

    model = ir.load(path)
    reached = set(_reached(model.graph.all_nodes()))
    return frozenset(str(value.name) for value in model.graph.outputs if value in reached)


def _reached(nodes: Iterator[ir.Node]) -> Collection[ir.Value]:
    todo = [value for node in nodes if node.op_type in SELECTS and not node.domain for value in node.outputs]
    seen: set[ir.Value] = set()
    while todo:
        value = todo.pop()
        if value not in seen:
            seen.add(value)
            todo.extend(output for use in value.uses() for output in use.node.outputs)
    return seen
