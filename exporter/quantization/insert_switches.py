"""Make every rounding of an int8 graph a switch, so that one session answers for any choice of layers.

The float graph gets a boolean input with one element for each place where int8 rounds: a node that reads an activation
quantized, or a quantized weight. Where it is false, the float value goes in. What a placement quantizes is then a
vector, and trying another placement costs a run, not a new graph and session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...calibration.affine import Affine, weight_scales
from ...profiles.device.target import Scheme
from ..graphs.values import add_constant, as_float32, constant, free_name
from .insert_qdq import BIAS_INPUT, dequantized_weight
from .placement import Placement, WeightSite

if TYPE_CHECKING:
    import onnx_ir as ir

SWITCHES = "edgepress_switches"
# A place where int8 rounds: (node, input index) that reads an activation quantized, or (node, WEIGHT). A value that
# leaves the graph quantized is read by ("", its index among the outputs).
Switch = tuple[str, int]
WEIGHT = -1


def switches(placement: Placement) -> list[Switch]:
    """Every place where the placement rounds, in the order of the graph's own lists."""
    found = [(str(site.node.name), WEIGHT) for site in placement.weights]
    for value in placement.edges:
        found += [(str(node.name), index) for node, index in _readers(placement, value)]
        if value in placement.everywhere and value.is_graph_output():
            found.append(("", _output_index(value)))
    return found


class InsertSwitchesPass:
    """Rewrites a graph in place; one instance a graph."""

    def __init__(
        self,
        graph: ir.Graph,
        scheme: Scheme,
        ranges: Mapping[str, Affine],
        biases: Mapping[str, npt.NDArray[np.float32] | None],
    ) -> None:
        """Prepare.

        Args:
            graph: the float graph, lifted, that the placement is of.
            ranges: scale and zero point of each quantized value, by name.
            biases: the bias before, of each node whose present one makes up for the rounding of its weight: it must go
                with that.
        """
        self.graph, self.scheme, self.ranges, self.biases = graph, scheme, ranges, biases
        self._conditions: dict[Switch, ir.Value] = {}

    def run(self, placement: Placement) -> list[Switch]:
        """Insert them; returns which element of the input is which."""
        import onnx_ir as ir

        found = switches(placement)
        vector = ir.Value(name=SWITCHES, type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([len(found)]))
        self._gather(vector, found)
        for site in placement.weights:
            self._weight(site)
        for value in list(placement.edges):
            self._activation(placement, value)
        self.graph.inputs.append(vector)
        return found

    def _gather(self, vector: ir.Value, found: list[Switch]) -> None:
        import onnx_ir as ir

        for index, switch in enumerate(found):
            place = add_constant(self.graph, f"{SWITCHES}_{index}", np.asarray(index, np.int64))
            node = ir.node("Gather", [vector, place], name=f"{SWITCHES}/{index}")
            self.graph.insert_before(self.graph[0], node)
            self._conditions[switch] = node.outputs[0]

    def _weight(self, site: WeightSite) -> None:
        name, value = str(site.node.name), site.node.inputs[site.weight]
        weight = constant(value)
        assert value is not None and weight is not None
        rounded = dequantized_weight(weight, weight_scales(weight, site.axis), site.axis)
        on = add_constant(self.graph, f"{value.name}_rounded", rounded.astype(np.float32))
        site.node.replace_input_with(site.weight, self._where((name, WEIGHT), on, value, before=site.node))
        if name in self.biases:
            self._bias(site.node, self.biases[name])

    def _bias(self, node: ir.Node, before: npt.NDArray[np.float32] | None) -> None:
        corrected = node.inputs[BIAS_INPUT]
        after = constant(corrected)
        assert corrected is not None and after is not None
        old = add_constant(self.graph, f"{corrected.name}_before", np.zeros_like(after) if before is None else before)
        chosen = self._where((str(node.name), WEIGHT), corrected, old, before=node)
        node.replace_input_with(BIAS_INPUT, chosen)

    def _activation(self, placement: Placement, value: ir.Value) -> None:
        import onnx_ir as ir

        name = str(value.name)
        affine = self.ranges[name]
        scale = add_constant(self.graph, f"{name}_scale", as_float32(affine.scale))
        zero = add_constant(self.graph, f"{name}_zero_point", np.asarray(affine.zero_point, self.scheme.activation))
        readers = _readers(placement, value)
        quantize = ir.node("QuantizeLinear", [value, scale, zero], name=f"{name}/quantize")
        restore = ir.node("DequantizeLinear", [quantize.outputs[0], scale, zero], name=f"{name}/dequantize")
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], [quantize, restore])
        else:
            self.graph.insert_after(producer, [quantize, restore])
        for node, index in readers:
            switch = (str(node.name), index)
            node.replace_input_with(index, self._where(switch, restore.outputs[0], value, before=node))
        if value in placement.everywhere and value.is_graph_output():
            self._output(value, restore)

    def _output(self, value: ir.Value, restore: ir.Node) -> None:
        """Hand out the rounded value, or the float one, under the name that the graph's users know."""
        index, name = _output_index(value), value.name
        chosen = self._where(("", index), restore.outputs[0], value, after=restore)
        value.name = free_name(f"{name}_float", {str(v.name) for node in self.graph for v in node.outputs})
        chosen.name, chosen.shape, chosen.type = name, value.shape, value.type
        self.graph.outputs[index] = chosen

    def _where(
        self,
        switch: Switch,
        on: ir.Value,
        off: ir.Value,
        before: ir.Node | None = None,
        after: ir.Node | None = None,
    ) -> ir.Value:
        import onnx_ir as ir

        node = ir.node("Where", [self._conditions[switch], on, off])
        if before is not None:
            self.graph.insert_before(before, node)
        else:
            assert after is not None
            self.graph.insert_after(after, node)
        return node.outputs[0]


def _readers(placement: Placement, value: ir.Value) -> list[tuple[ir.Node, int]]:
    """Who reads the value quantized: all of its consumers, or those that the placement names."""
    if value in placement.everywhere:
        return [(use.node, use.idx) for use in value.uses()]
    return placement.edges[value]


def _output_index(value: ir.Value) -> int:
    graph = value.graph
    assert graph is not None
    return next(index for index, output in enumerate(graph.outputs) if output is value)
