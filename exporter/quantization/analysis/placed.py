"""What of a graph is quantized: the result of placement, which the passes behind it read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ....calibration.statistics import Channels
from ...graphs.values import constant
from .weight_site import WeightSite

if TYPE_CHECKING:
    import onnx_ir as ir


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
        gates: functions of a quantized value by which it is multiplied.
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
    gates: set[ir.Value] = field(default_factory=set)
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
