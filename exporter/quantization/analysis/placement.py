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

from ....calibration.statistics import Channels
from ....profiles.device.target import Scheme
from ...graphs.values import constant, passes_scale, single_consumer
from ..rewrites.patches_to_gemm import cuts_patches
from .channel_domains import find_domains
from .weight_site import CONVOLUTIONS, WeightSite, weight_site

if TYPE_CHECKING:
    import onnx_ir as ir

# Spatial operators through which a convolutional region goes on; a reshape or a transpose ends it.
SPATIAL = frozenset({"Add", "Concat", "MaxPool", "AveragePool", "Mul"})
# What turns a feature map into tokens, and what a transformer does with them first.
LAYOUT = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})
STREAM = frozenset({"Add", "Concat", "LayerNormalization"})


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
    site, name = weight_site(node), str(node.name or node.op_type)
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
