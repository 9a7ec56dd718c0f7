"""Decide which tensors of a graph a scheme quantizes, before any data is seen.

Placement follows the role of a tensor, not what an operator could do: the inputs of weighted operators everywhere;
results, residual branches and pooling only in convolutional regions. Norms, softmax, GELU and the residual stream of a
transformer are never touched.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ....calibration.statistics import Channels, TensorStatistics
from ....profiles.device.target import Scheme
from ...graphs.values import constant, passes_scale, single_consumer
from ..rewrites.dynamic_lstm import why_not_integer
from ..rewrites.patches_to_gemm import cuts_patches
from .channel_domains import find_domains
from .one_scale import fits_channels, fits_parts
from .streams import feeds_stream, leaves_unweighted
from .weight_site import CONVOLUTIONS, WeightSite, weight_site

if TYPE_CHECKING:
    import onnx_ir as ir

# Spatial operators through which a convolutional region goes on; a reshape or a transpose ends it.
SPATIAL = frozenset({"Add", "Concat", "MaxPool", "AveragePool", "Mul"})
# ONNX has no integer form of them that Q/DQ around the node could stand for: their products are inside.
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


@dataclass(slots=True)
class Placement:
    """What is quantized.

    Attributes:
        weights: weighted operators that become int8.
        dynamic: layers that become the runtime's own integer kernel, which rounds what it reads by itself.
        edges: for each quantized value the consumers (node, input index) that read it quantized.
        everywhere: values that all consumers read quantized, graph outputs included.
        left: weighted operators that stay float, by node name, with the reason.
        patches: of the weighted operators, the convolutions to be computed as a Gemm over patches.
        rescalable: values whose channels a lift may rescale, along axis 1.
        heads: quantized results that leave the model with no weighted operator in between, so that each of their
            channels counts by itself.
        leaving: other quantized values that leave the model so.
    """

    weights: list[WeightSite] = field(default_factory=list)
    dynamic: list[ir.Node] = field(default_factory=list)
    edges: dict[ir.Value, list[tuple[ir.Node, int]]] = field(default_factory=dict)
    everywhere: set[ir.Value] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)
    patches: list[ir.Node] = field(default_factory=list)
    rescalable: set[ir.Value] = field(default_factory=set)
    heads: dict[ir.Value, WeightSite] = field(default_factory=dict)
    leaving: set[ir.Value] = field(default_factory=set)
    _parent: dict[ir.Value, ir.Value] = field(default_factory=dict)

    @property
    def layers(self) -> dict[str, ir.Node]:
        """The layers that become int8, by node name."""
        return {str(node.name): node for node in (*(site.node for site in self.weights), *self.dynamic)}

    def read(self, node: ir.Node, index: int) -> None:
        """Quantize one input of a node."""
        value = node.inputs[index]
        if value is not None and (node, index) not in self.edges.setdefault(value, []):
            self.edges[value].append((node, index))

    def whole(self, value: ir.Value) -> None:
        """Quantize a value for all who read it."""
        self.edges.setdefault(value, [])
        self.everywhere.add(value)

    def release(self, value: ir.Value) -> None:
        """Leave a value float that no operator reads quantized."""
        self.everywhere.discard(value)
        if not self.edges.get(value):
            self.edges.pop(value, None)

    def share(self, first: ir.Value, second: ir.Value) -> None:
        """Let two values have one scale and zero point."""
        self._parent[self.root(first)] = self.root(second)

    def observed(self) -> dict[str, Channels | None]:
        """The values to observe by name, with the per-channel state to keep of those that a weighted operator reads.

        They are the quantized ones, and those that layers read which round them by themselves.
        """
        keep = {site.node.inputs[site.data]: site.channels for site in self.weights}
        for value in (*self.rescalable, *self.heads, *self.leaving):
            if value not in keep or not keep[value].spread:
                keep[value] = Channels(axis=1, spread=True, squares=False)
        read = dict.fromkeys([*self.edges, *(node.inputs[0] for node in self.dynamic)])
        return {str(value.name): keep.get(value) for value in read if value is not None and constant(value) is None}

    def root(self, value: ir.Value) -> ir.Value:
        """The representative of all values that share a range with this one."""
        while value in self._parent and self._parent[value] is not value:
            value = self._parent[value]
        return value

    def groups(self) -> dict[ir.Value, list[ir.Value]]:
        """Quantized values by representative."""
        found: dict[ir.Value, list[ir.Value]] = {}
        for value in self.edges:
            found.setdefault(self.root(value), []).append(value)
        return found


def place(
    graph: ir.Graph,
    scheme: Scheme,
    exclude: Sequence[str] = (),
    seen: Mapping[str, TensorStatistics] | None = None,
) -> Placement:
    """Decide what the scheme quantizes in this graph.

    Args:
        exclude: node names, operator types or shell patterns of either that stay float.
        seen: what was observed of the values that are quantized without it, by name. With it, values that no one scale
            can hold do not share one; what is quantized is part of what was without it.
    """
    placement = Placement()
    for node in graph:
        if node.domain == "" and node.op_type in scheme.weighted:
            _weighted(node, scheme, exclude, placement)
        elif node.domain == "" and node.op_type in RECURRENT:
            _recurrent(node, scheme, exclude, placement)
    for rule in (_residuals, _around, _heads, _shared, _keep_scale):
        rule(graph, scheme, placement, seen or {})
    placement.rescalable.update(value for domain in find_domains(graph) for value in domain.values)
    return placement


def excluded(node: ir.Node, patterns: Sequence[str]) -> bool:
    """Whether a pattern names the node or its operator type."""
    return any(fnmatch.fnmatchcase(text or "", pattern) for pattern in patterns for text in (node.name, node.op_type))


def _weighted(node: ir.Node, scheme: Scheme, exclude: Sequence[str], placement: Placement) -> None:
    site, name = weight_site(node), str(node.name or node.op_type)
    if isinstance(site, str):
        placement.left[name] = site
        return
    if why := "excluded by the user" if excluded(node, exclude) else _why_left(site, scheme):
        placement.left[name] = why
        return
    result = _after_activation(node.outputs[0], scheme)
    quantize_result = node.op_type in scheme.outputs and not feeds_stream(result)
    if node.op_type in scheme.outputs and scheme.result_needed and not quantize_result:
        if not (scheme.rows and scheme.weight.block is None and cuts_patches(node)):
            placement.left[name] = "its result is a transformer's residual stream, which stays float"
            return
        placement.patches.append(node)
    placement.weights.append(site)
    placement.read(node, site.data)
    if quantize_result:
        placement.whole(result)


def _recurrent(node: ir.Node, scheme: Scheme, exclude: Sequence[str], placement: Placement) -> None:
    """A layer of the scheme's `dynamic`, or one that stays float."""
    why = scheme.why_left(node.op_type, ()) or f"{node.op_type} has no int8 form in Q/DQ"
    if node.op_type in scheme.dynamic:
        why = "excluded by the user" if excluded(node, exclude) else why_not_integer(node, scheme.weight)
    if why:
        placement.left[str(node.name or node.op_type)] = why
    else:
        placement.dynamic.append(node)


def _why_left(site: WeightSite, scheme: Scheme) -> str:
    weight = constant(site.node.inputs[site.weight])
    assert weight is not None
    return scheme.why_left(site.node.op_type, weight.shape)


def _after_activation(value: ir.Value, scheme: Scheme) -> ir.Value:
    """The value after the activation that the runtime fuses into the operator, or the value itself."""
    consumer = single_consumer(value)
    if consumer is not None and consumer.domain == "" and consumer.op_type in scheme.fused:
        return consumer.outputs[0]
    return value


def _in_region(value: ir.Value | None, scheme: Scheme) -> bool:
    """Whether a value belongs to a convolutional region: a convolution reaches it through spatial operators only."""
    stack, seen = [value], set()
    while stack:
        node = v.producer() if (v := stack.pop()) is not None else None
        if node is None or node in seen or node.domain != "":
            continue
        seen.add(node)
        if node.op_type in CONVOLUTIONS:
            return True
        if node.op_type in SPATIAL or node.op_type in scheme.fused or node.op_type in scheme.around:
            stack.extend(node.inputs)
    return False


def _nodes(graph: ir.Graph, operators: Sequence[str], scheme: Scheme) -> Iterator[ir.Node]:
    for node in graph:
        if node.domain == "" and node.op_type in operators and _in_region(node.inputs[0], scheme):
            yield node


def _residuals(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    order = {node: index for index, node in enumerate(graph)}
    for node in graph:
        if scheme.residual == "none" or node.domain != "" or node.op_type != "Add":
            continue
        if any(constant(v) is not None for v in node.inputs) or not any(_in_region(v, scheme) for v in node.inputs):
            continue
        if scheme.residual == "both":
            result = _after_activation(node.outputs[0], scheme)
            if _keeps_channels(result, scheme, placement, seen) or _read_in_integers(result, scheme, placement):
                placement.read(node, 0)
                placement.read(node, 1)
                placement.whole(result)
        elif (skip := _skip_branch(node, order)) is not None and _keeps_channels(
            node.inputs[skip], scheme, placement, seen
        ):
            placement.read(node, skip)


def _keeps_channels(
    value: ir.Value | None, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]
) -> bool:
    """Whether one scale keeps what the user sees of a value; inside the model, weights make up for small channels."""
    if value is None or not leaves_unweighted(value, scheme.weighted):
        return True
    placement.leaving.add(value)
    return fits_channels(seen.get(str(value.name)))


def _skip_branch(node: ir.Node, order: dict[ir.Node, int]) -> int | None:
    """Index of the Add's input that is not the convolution it fuses with; None where no convolution feeds it.

    Where both inputs are convolutions, the later one is fused: it is the last to run before the Add.
    """
    producers = [value.producer() if value is not None else None for value in node.inputs]
    fusable = [i for i, p in enumerate(producers) if p is not None and p.op_type in CONVOLUTIONS]
    if not fusable:
        return None
    return 1 - max(fusable, key=lambda i: order[producers[i]])  # type: ignore[index]


def _around(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    for node in _nodes(graph, scheme.around, scheme):
        result = node.outputs[0]
        if _keeps_channels(result, scheme, placement, seen) or _read_in_integers(result, scheme, placement):
            placement.read(node, 0)
            placement.whole(result)


def _heads(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    """Results that no integer kernel reads: float where the kernel can give floats, and where one scale is too coarse.

    Where the kernel gives integers only, a result that leaves the model stays quantized unless its channels (boxes
    beside scores) are of so different ranges that the small ones would vanish.
    """
    for site in list(placement.weights):
        result = _after_activation(site.node.outputs[0], scheme)
        if result not in placement.everywhere:
            continue
        # Seen by channel in any case: an operator that reads it in integers may turn out not to.
        kept = _keeps_channels(result, scheme, placement, seen)
        if _read_in_integers(result, scheme, placement):
            continue
        if not scheme.result_needed:
            placement.release(result)
        elif result in placement.leaving:
            placement.heads[result] = site
            if not kept:
                _float_result(site, result, scheme, placement)


def _float_result(site: WeightSite, result: ir.Value, scheme: Scheme, placement: Placement) -> None:
    """Leave the result of a head float: as a Gemm over patches where that can be, else the whole operator."""
    placement.release(result)
    if scheme.rows and scheme.weight.block is None and cuts_patches(site.node):
        placement.patches.append(site.node)
        return
    data = site.node.inputs[site.data]
    assert data is not None
    placement.weights.remove(site)
    placement.edges[data].remove((site.node, site.data))
    if not placement.edges[data] and data not in placement.everywhere:
        del placement.edges[data]
    placement.left[str(site.node.name or site.node.op_type)] = (
        "the channels of its result differ so much in range that one scale would lose the small ones"
    )


def _read_in_integers(value: ir.Value, scheme: Scheme, placement: Placement) -> bool:
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
            moves = node.op_type in scheme.keep_scale and use.idx == 0 and passes_scale(node)
            if node.domain == "" and (moves or node.op_type in scheme.shared):
                stack.append(node.outputs[0])
    return False


def _shared(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    """All inputs and the output of a Concat have one scale, where an integer kernel reads it and one scale suits all.

    Where the parts' ranges are too different, each keeps what it has without the Concat.
    """
    for node in _nodes(graph, scheme.shared, scheme):
        inputs, result = [value for value in node.inputs if value is not None], node.outputs[0]
        if not _read_in_integers(result, scheme, placement) or not _one_scale([*inputs, result], placement, seen):
            continue
        for index, value in enumerate(inputs):
            placement.read(node, index)
            placement.share(value, result)
        placement.whole(result)


def _one_scale(values: Sequence[ir.Value], placement: Placement, seen: Mapping[str, TensorStatistics]) -> bool:
    """Whether one scale suits these values and all that share one with them already."""
    roots = {placement.root(value) for value in values}
    members = {*values, *(value for value in placement.edges if placement.root(value) in roots)}
    return fits_parts(seen[str(value.name)] for value in members if str(value.name) in seen)


def _keep_scale(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    """An operator that only moves values between two quantized tensors moves integers, if both have one scale."""
    for node in graph:
        if node.domain != "" or node.op_type not in scheme.keep_scale or not passes_scale(node):
            continue
        value, result = node.inputs[0], node.outputs[0]
        if value in placement.edges and result in placement.edges and _one_scale([value, result], placement, seen):
            placement.read(node, 0)
            placement.share(result, value)
