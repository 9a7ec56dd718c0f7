"""Which outputs of a graph are sets of rows that data select: those behind a non-maximum suppression."""

from __future__ import annotations

from collections.abc import Collection, Iterable
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


def suppressions(model: ir.Model) -> list[ir.Node]:
    """The nodes of a graph that select boxes."""
    return [node for node in model.graph.all_nodes() if node.op_type in SELECTS and not node.domain]


def around_selection(graph: Graph, until: Collection[str]) -> dict[str, str]:
    """The nodes that decode and select boxes, by name, each with why it needs all digits of float32.

    Args:
        until: operators at which what is decoded begins, those with weights.
    """
    import onnx_ir as ir

    model = ir.load(graph.path)
    nodes = {use.node for value in _reached(suppressions(model)) for use in value.uses()}
    todo = suppressions(model)
    while todo:
        node = todo.pop()
        if node.op_type not in until and node not in nodes:
            nodes.add(node)
            todo.extend(producer for value in node.inputs if value is not None and (producer := value.producer()))
    return {str(node.name): "corners of boxes need more digits" for node in nodes if node.name}


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
    reached = _reached(suppressions(model))
    return frozenset(str(value.name) for value in model.graph.outputs if value in reached)


def _reached(nodes: Iterable[ir.Node]) -> set[ir.Value]:
    """What is computed of what the nodes give."""
    todo = [value for node in nodes for value in node.outputs]
    seen: set[ir.Value] = set()
    while todo:
        value = todo.pop()
        if value not in seen:
            seen.add(value)
            todo.extend(output for use in value.uses() for output in use.node.outputs)
    return seen
