"""Decide which tensors of a graph a scheme quantizes, before any data is seen.

Placement follows the role of a tensor, not what an operator could do: the inputs of weighted operators everywhere;
results, residual branches and pooling only in convolutional regions. Norms, softmax, GELU and the residual stream of a
transformer are never touched.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...calibration.statistics import Channels
from ...profiles.device.grid import Grid
from ...profiles.device.target import Scheme
from ..graphs.values import constant, number, passes_scale, single_consumer
from .channel_domains import find_domains
from .rewrites.patches_to_gemm import cuts_patches

if TYPE_CHECKING:
    import onnx_ir as ir

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
# Spatial operators through which a convolutional region goes on; a reshape or a transpose ends it.
SPATIAL = frozenset({"Add", "Concat", "MaxPool", "AveragePool", "Mul"})
# What turns a feature map into tokens, and what a transformer does with them first.
LAYOUT = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})
STREAM = frozenset({"Add", "Concat", "LayerNormalization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSite:
    """A weighted operator and where its weight is.

    Attributes:
        data, weight: input indices of the activation and of the constant weight.
        axis: output-channel axis of the weight, None where it has none that a scale could follow.
        inner: input-channel axis of the weight, along which blocks lie.
    """

    node: ir.Node
    data: int
    weight: int
    axis: int | None
    inner: int

    def scale_axis(self, grid: Grid) -> int | None:
        """The `axis` of ONNX QuantizeLinear for the weight; None for one scale a tensor."""
        return {"tensor": None, "channel": self.axis, "block": self.inner}[grid.granularity]

    @property
    def channels(self) -> Channels:
        """What to know of the activation: means for the bias of a convolution, the spread too for a product's lift."""
        convolution = self.node.op_type in CONVOLUTIONS
        return Channels(axis=1 if convolution else -1, spread=not convolution)


@dataclass(slots=True)
class Placement:
    """What is quantized.

    Attributes:
        weights: weighted operators that become int8.
        edges: for each quantized value the consumers (node, input index) that read it quantized.
        everywhere: values that all consumers read quantized, graph outputs included.
        left: weighted operators that stay float, by node name, with the reason.
        patches: of the weighted operators, the convolutions to be computed as a Gemm over patches.
        rescalable: values whose channels a lift may rescale, along axis 1.
    """

    weights: list[WeightSite] = field(default_factory=list)
    edges: dict[ir.Value, list[tuple[ir.Node, int]]] = field(default_factory=dict)
    everywhere: set[ir.Value] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)
    patches: list[ir.Node] = field(default_factory=list)
    rescalable: set[ir.Value] = field(default_factory=set)
    _parent: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def read(self, node: ir.Node, index: int) -> None:
        """Quantize one input of a node."""
        value = node.inputs[index]
        if value is not None and (node, index) not in self.edges.setdefault(value, []):
            self.edges[value].append((node, index))

    def whole(self, value: ir.Value) -> None:
        """Quantize a value for all who read it."""
        self.edges.setdefault(value, [])
        self.everywhere.add(value)

    def share(self, first: ir.Value, second: ir.Value) -> None:
        """Let two values have one scale and zero point."""
        self._parent[self.root(first)] = self.root(second)

    def observed(self) -> dict[str, Channels | None]:
        """The quantized values by name, with the per-channel state to keep of those that a weighted operator reads."""
        keep = {site.node.inputs[site.data]: site.channels for site in self.weights}
        for value in self.rescalable:
            if value not in keep or not keep[value].spread:
                keep[value] = Channels(axis=1, spread=True, squares=False)
        return {str(value.name): keep.get(value) for value in self.edges}

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


def place(graph: ir.Graph, scheme: Scheme, exclude: Sequence[str] = ()) -> Placement:
    """Decide what the scheme quantizes in this graph.

    Args:
        exclude: node names, operator types or shell patterns of either that stay float.
    """
    placement = Placement()
    for node in graph:
        if node.domain == "" and node.op_type in scheme.weighted:
            _weighted(node, scheme, exclude, placement)
    for rule in (_residuals, _around, _shared, _keep_scale):
        rule(graph, scheme, placement)
    placement.rescalable.update(value for domain in find_domains(graph) for value in domain.values)
    return placement


def excluded(node: ir.Node, patterns: Sequence[str]) -> bool:
    """Whether a pattern names the node or its operator type."""
    return any(fnmatch.fnmatchcase(text or "", pattern) for pattern in patterns for text in (node.name, node.op_type))


def _weighted(node: ir.Node, scheme: Scheme, exclude: Sequence[str], placement: Placement) -> None:
    site, name = _site(node), str(node.name or node.op_type)
    if isinstance(site, str):
        placement.left[name] = site
        return
    if excluded(node, exclude):
        placement.left[name] = "excluded by the user"
        return
    result = _after_activation(node.outputs[0], scheme)
    quantize_result = node.op_type in scheme.outputs and not _feeds_stream(result)
    if node.op_type in scheme.outputs and scheme.result_needed and not quantize_result:
        if not (scheme.rows and scheme.weight.block is None and cuts_patches(node)):
            placement.left[name] = "its result is a transformer's residual stream, which stays float"
            return
        placement.patches.append(node)
    placement.weights.append(site)
    placement.read(node, site.data)
    if quantize_result:
        placement.whole(result)


def _feeds_stream(value: ir.Value) -> bool:
    """Whether a convolution's result becomes the tokens of a transformer: reshaped, then added to, joined or normed.

    Eight bits there would add noise to everything that follows (measured on a ViT: 5 dB).
    """
    stack = [(value, False)]
    while stack:
        current, reshaped = stack.pop()
        for use in current.uses():
            if use.node.op_type in LAYOUT:
                stack.append((use.node.outputs[0], True))
            elif reshaped and use.node.op_type in STREAM:
                return True
    return False


def _site(node: ir.Node) -> WeightSite | str:
    """Where the weight is, or why the operator has none that can be int8."""
    first, second = node.inputs[0], node.inputs[1]
    weight = 1 if second is not None and constant(second) is not None else 0
    array = constant(node.inputs[weight])
    if array is None:
        return "both operands are activations (no constant weight)"
    if weight == 0 and (node.op_type != "MatMul" or (first is not None and constant(second) is not None)):
        return "its data operand is constant"
    if array.dtype != np.float32:
        return f"its weight is {array.dtype}, not float32"
    if node.op_type == "Gemm" and (
        number(node, "transA", 0) or number(node, "beta", 1) != 1 or number(node, "alpha", 1) != 1
    ):
        return "a Gemm with transA, alpha or beta has no integer kernel"
    axis = _channel_axis(node, weight, array.ndim)
    return WeightSite(node=node, data=1 - weight, weight=weight, axis=axis, inner=_inner_axis(node, weight, array.ndim))


def _channel_axis(node: ir.Node, weight: int, rank: int) -> int | None:
    """Output-channel axis of a weight (ONNX operator definitions; TensorRT's per-channel rules are the same)."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if number(node, "group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if number(node, "transB", 0) else 1
    return 1 if weight == 1 and rank == 2 else None


def _inner_axis(node: ir.Node, weight: int, rank: int) -> int:
    """Input-channel axis of a weight, over which its products are summed."""
    if node.op_type in CONVOLUTIONS:
        return int(node.op_type == "Conv")
    if node.op_type == "Gemm":
        return int(number(node, "transB", 0))
    return max(rank - 2, 0) if weight == 1 else rank - 1


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


def _residuals(graph: ir.Graph, scheme: Scheme, placement: Placement) -> None:
    order = {node: index for index, node in enumerate(graph)}
    for node in graph:
        if scheme.residual == "none" or node.domain != "" or node.op_type != "Add":
            continue
        if any(constant(v) is not None for v in node.inputs) or not any(_in_region(v, scheme) for v in node.inputs):
            continue
        if scheme.residual == "both":
            placement.read(node, 0)
            placement.read(node, 1)
            placement.whole(_after_activation(node.outputs[0], scheme))
        elif (skip := _skip_branch(node, order)) is not None:
            placement.read(node, skip)


def _skip_branch(node: ir.Node, order: dict[ir.Node, int]) -> int | None:
    """Index of the Add's input that is not the convolution it fuses with; None where no convolution feeds it.

    Where both inputs are convolutions, the later one is fused: it is the last to run before the Add.
    """
    producers = [value.producer() if value is not None else None for value in node.inputs]
    fusable = [i for i, p in enumerate(producers) if p is not None and p.op_type in CONVOLUTIONS]
    if not fusable:
        return None
    return 1 - max(fusable, key=lambda i: order[producers[i]])  # type: ignore[index]


def _around(graph: ir.Graph, scheme: Scheme, placement: Placement) -> None:
    for node in _nodes(graph, scheme.around, scheme):
        placement.read(node, 0)
        placement.whole(node.outputs[0])


def _shared(graph: ir.Graph, scheme: Scheme, placement: Placement) -> None:
    """All inputs and the output of a Concat of quantized tensors have one scale."""
    for node in _nodes(graph, scheme.shared, scheme):
        inputs = [value for value in node.inputs if value is not None]
        if not any(value in placement.edges for value in (*inputs, *node.outputs)):
            continue
        for index, value in enumerate(inputs):
            placement.read(node, index)
            placement.share(value, node.outputs[0])
        placement.whole(node.outputs[0])


def _keep_scale(graph: ir.Graph, scheme: Scheme, placement: Placement) -> None:
    """An operator that only moves values between two quantized tensors moves integers, if both have one scale."""
    for node in graph:
        if node.domain != "" or node.op_type not in scheme.keep_scale or not passes_scale(node):
            continue
        value, result = node.inputs[0], node.outputs[0]
        if value in placement.edges and result in placement.edges:
            placement.read(node, 0)
            placement.share(result, value)
