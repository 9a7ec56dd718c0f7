"""Which quantized tensors have one scale, so that integers pass between them as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ....calibration.statistics import TensorStatistics
from ....profiles.device.target import Scheme
from ..moving import interpolates, moves
from .one_scale import fits_parts
from .region import in_region, nodes_in_region

if TYPE_CHECKING:
    import onnx_ir as ir

    from .placed import Placement

_Seen = Mapping[str, TensorStatistics]


def read_in_integers(value: ir.Value, scheme: Scheme, placement: Placement) -> bool:
    """Whether an operator that is quantized reads the value, through operators that only move values too."""
    stack, visited = [value], set()
    while stack:
        current = stack.pop()
        if current in visited:
            continue
        visited.add(current)
        if placement.edges.get(current):
            return True
        for use in current.uses():
            node = use.node
            if node.domain == "" and (node.op_type in scheme.shared or (moves(node, scheme) and use.idx == 0)):
                stack.extend(node.outputs)
    return False


def _shared(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: _Seen) -> None:
    """All inputs and the output of a Concat have one scale, where an integer kernel reads it and one scale suits all.

    Where the parts' ranges are too different, each keeps what it has without the Concat.
    """
    for node in nodes_in_region(graph, scheme.shared, scheme):
        inputs, result = [value for value in node.inputs if value is not None], node.outputs[0]
        if not read_in_integers(result, scheme, placement) or not _one_scale([*inputs, result], placement, seen):
            continue
        for index, value in enumerate(inputs):
            placement.read(node, index)
            placement.share(value, result)
        placement.whole(result)


def _one_scale(values: Sequence[ir.Value], placement: Placement, seen: _Seen) -> bool:
    """Whether one scale suits these values and all that share one with them already."""
    roots = {placement.root(value) for value in values}
    members = {*values, *(value for value in placement.edges if placement.root(value) in roots)}
    return fits_parts(seen[str(value.name)] for value in members if str(value.name) in seen)


def _ahead(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: _Seen) -> None:
    """Where all that a moving operator gives is read quantized, what it reads is quantized: it moves integers."""
    for node in reversed(graph):
        if node.op_type not in scheme.ahead or not moves(node, scheme) or interpolates(node):
            continue
        if not in_region(node.inputs[0], scheme):
            continue
        value = node.inputs[0]
        if value is None or value in placement.edges:
            continue
        if all(_all_quantized(result, placement) for result in node.outputs if result.uses()) and _one_scale(
            [value, *node.outputs], placement, seen
        ):
            placement.read(node, 0)


def _all_quantized(value: ir.Value, placement: Placement) -> bool:
    """Whether nobody reads the float value."""
    if value in placement.everywhere:
        return True
    readers = placement.edges.get(value, ())
    return not value.is_graph_output() and all((use.node, use.idx) in readers for use in value.uses())


def _keep_scale(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: _Seen) -> None:
    """An operator that only moves values between quantized tensors moves integers, if they have one scale."""
    for node in graph:
        if not moves(node, scheme):
            continue
        value, results = node.inputs[0], [result for result in node.outputs if result in placement.edges]
        if (
            value is not None
            and value in placement.edges
            and results
            and _one_scale([value, *results], placement, seen)
        ):
            placement.read(node, 0)
            for result in results:
                placement.share(result, value)


# All of them, in the order in which they run.
TIES: tuple[Callable[[ir.Graph, Scheme, Placement, _Seen], None], ...] = (_shared, _ahead, _keep_scale)
