"""Which outputs of a graph are sets of rows that data select.

They are those behind a non-maximum suppression, and those behind a TopK whose scores are an output too: the best
peaks of a heat map, or the best queries of a transformer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Graph, TensorSpec
from ...profiles.findings.rows import Rows
from .signs import is_not_negative
from .values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

SELECTS = frozenset({"NonMaxSuppression"})
# Which inputs of an operator its first output has its elements of, where it does nothing but move them.
MOVES = {
    **dict.fromkeys(("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Expand"), (0,)),
    **dict.fromkeys(("Gather", "GatherND", "GatherElements", "TopK", "ReduceMax"), (0,)),
    "Where": (1, 2),
    "ScatterND": (2,),
}
# Where the number of rows is fixed, they lie behind the batch.
_BEHIND_BATCH = 1


def selected_rows(graph: Graph) -> tuple[Rows, ...]:
    """The sets of rows among a graph's outputs, each along its axis.

    Outputs of the same selections that have as many rows are one set: boxes, scores and classes. What a TopK ranks is a
    set where the scores among it cannot be negative. The axis is the first whose length depends on data; else the
    second, or another that is as long as the scores are. An output of one value a sample is in no set.
    """
    behind, scores = _behind(graph.path, graph.digest), _scores(graph.path, graph.digest)
    sets: dict[tuple[int | str, frozenset[int]], dict[str, int]] = {}
    for spec in graph.outputs:
        if of := behind.get(spec.name):
            like = (other for other in graph.outputs if behind.get(other.name) == of)
            lengths = {other.shape[-1] for other in like if (other.name, len(other.shape)) in scores}
            free = [axis for axis, size in enumerate(spec.shape) if isinstance(size, str) and _depends(size, graph)]
            axis = free[0] if free else _axis_of_rows(spec, lengths)
            if axis < len(spec.shape):
                sets.setdefault(("" if free else spec.shape[axis], of), {})[spec.name] = axis
    thresholds = _thresholds(graph.path, graph.digest)
    found = [
        _as_rows(axes, scores, min((thresholds[one] for one in of if one < len(thresholds)), default=0.0))
        for (_, of), axes in sets.items()
    ]
    suppressed = [min(of) < len(thresholds) for _, of in sets]
    return tuple(rows for rows, known in zip(found, suppressed, strict=True) if known or rows.scores)


def _axis_of_rows(spec: TensorSpec, lengths: Collection[int | str]) -> int:
    """Where an output behind a selection of a fixed number of rows has these; it may have no such axis.

    Args:
        lengths: how many rows its scores have.
    """
    as_long = [axis for axis in range(_BEHIND_BATCH, len(spec.shape)) if spec.shape[axis] in lengths]
    return as_long[0] if len(as_long) == 1 else _BEHIND_BATCH


def _as_rows(axes: Mapping[str, int], scores: Collection[tuple[str, int]], threshold: float) -> Rows:
    """The set of these outputs, given the axis of each."""
    given = next((name for name, axis in axes.items() if (name, axis + 1) in scores), "")
    axis = axes[given] if given else min(axes.values())
    others = {name: one for name, one in axes.items() if one != axis}
    return Rows(outputs=tuple(axes), axis=axis, scores=given, threshold=threshold, axes=others)


def suppressions(model: ir.Model | ir.Graph) -> list[ir.Node]:
    """The nodes that select boxes."""
    import onnx_ir as ir

    graph = model.graph if isinstance(model, ir.Model) else model
    return [node for node in graph.all_nodes() if node.op_type in SELECTS and not node.domain]


def _rankings(model: ir.Model) -> list[ir.Node]:
    """The TopK nodes that give an output its scores, and lie behind no suppression."""
    suppressed = reached(suppressions(model))
    moved = set().union(*(_moved_from(value) for value in model.graph.outputs))
    ranks = (node for node in model.graph if node.op_type == "TopK" and not node.domain and node.outputs[0] in moved)
    return [node for node in ranks if node.inputs[0] not in suppressed and is_not_negative(node.inputs[0])]


def around_selection(graph: Graph, until: Collection[str]) -> dict[str, str]:
    """The nodes that decode and select boxes, by name, each with why it needs all digits of float32.

    Args:
        until: operators at which what is decoded begins, those with weights.
    """
    import onnx_ir as ir

    model = ir.load(graph.path)
    nodes = {use.node for value in reached(suppressions(model)) for use in value.uses()}
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
def _scores(path: Path, digest: str) -> frozenset[tuple[str, int]]:
    """Names and ranks of the outputs that are scores which a suppression reads or a ranking gives, only moved.

    Args:
        digest: of the file, which may be written anew.
    """
    import onnx_ir as ir

    model = ir.load(path)
    given = {origin for node in suppressions(model) for origin in _moved_from(node.inputs[1])}
    given.update(node.outputs[0] for node in _rankings(model))
    ranked = [(value, None if value.shape is None else len(value.shape)) for value in model.graph.outputs]
    return frozenset((str(v.name), rank) for v, rank in ranked if rank is not None and given & _moved_from(v))


@lru_cache
def _thresholds(path: Path, digest: str) -> tuple[float, ...]:
    """From what score each suppression lets a box in; 0 where the graph does not say.

    Args:
        digest: of the file, which may be written anew.
    """
    import onnx_ir as ir

    given = [constant(node.inputs[4]) if len(node.inputs) > 4 else None for node in suppressions(ir.load(path))]
    return tuple(0.0 if one is None else max(0.0, float(one.reshape(-1)[0])) for one in given)


def _moved_from(value: ir.Value | None) -> set[ir.Value]:
    """The value, and those that its elements come from without arithmetic."""
    seen: set[ir.Value] = set()
    todo = [value]
    while todo:
        one = todo.pop()
        if one is None or one in seen or one.const_value is not None:
            continue
        seen.add(one)
        node = one.producer()
        if node is not None and not node.domain and node.op_type in MOVES and one is node.outputs[0]:
            todo.extend(node.inputs[index] for index in MOVES[node.op_type] if index < len(node.inputs))
    return seen


@lru_cache
def _behind(path: Path, digest: str) -> dict[str, frozenset[int]]:
    """Which selections an output is computed of, by its name; one that is of none is left out.

    Suppressions are numbered first, then rankings.

    Args:
        digest: of the file, which may be written anew.
    """
    import onnx_ir as ir

    model = ir.load(path)
    each = [reached([node]) for node in (*suppressions(model), *_rankings(model))]
    of = {str(v.name): frozenset(i for i, one in enumerate(each) if v in one) for v in model.graph.outputs}
    return {name: numbers for name, numbers in of.items() if numbers}


def reached(nodes: Iterable[ir.Node]) -> set[ir.Value]:
    """What is computed of what the nodes give."""
    todo = [value for node in nodes for value in node.outputs]
    seen: set[ir.Value] = set()
    while todo:
        value = todo.pop()
        if value not in seen:
            seen.add(value)
            todo.extend(output for use in value.uses() for output in use.node.outputs)
    return seen
