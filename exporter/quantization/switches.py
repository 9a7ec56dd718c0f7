"""Make every rounding of a quantized graph a switch, so that one session answers for any choice of layers.

The graph gets a boolean input with one element for each place where it rounds: a node that reads an activation
quantized, or a quantized weight, with the bias that belongs to it. Where it is false, the float value goes in. A layer
that rounds what it reads by itself is one place: it is computed both ways. What a placement quantizes is then a vector,
and trying another placement costs a run, not a new graph and session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...calibration.affine import Affine
from ...calibration.statistics import TensorStatistics
from ...profiles.device.target import Scheme
from ..graphs.names import free_name, value_names
from ..graphs.values import add_constant, constant
from .analysis.placed import Placement
from .emitter import BIAS_INPUT, QdqEmitter, output_index, readers_in
from .fitted import FittedWeight
from .rewrites.dynamic_lstm import IntegerLstms

if TYPE_CHECKING:
    import onnx_ir as ir

SWITCHES = "edgepress_switches"
# A place that rounds: (node, input index) that reads an activation quantized, or (node, WEIGHT). A value that leaves
# the graph quantized is read by ("", its index among the outputs).
Switch = tuple[str, int]
WEIGHT = -1
Biases = Mapping[str, "npt.NDArray[np.float32] | None"]


def switches(placement: Placement) -> list[Switch]:
    """Every place where the placement rounds, in the order of the graph's own lists."""
    places = [(name, WEIGHT) for name in placement.layers]
    for value in placement.edges:
        places += [(str(node.name), index) for node, index in _readers(placement, value)]
        if value in placement.everywhere and value.is_graph_output():
            places.append(("", output_index(value)))
    return places


def insert_switches(
    graph: ir.Graph,
    placement: Placement,
    scheme: Scheme,
    ranges: Mapping[str, Affine],
    biases: Biases,
    seen: Mapping[str, TensorStatistics],
    fitted: Mapping[str, FittedWeight] | None = None,
) -> list[Switch]:
    """Quantize a graph in place as it would be shipped, with a switch at each place.

    Args:
        graph: the float graph, lifted, that the placement is of.
        ranges: scale and zero point of each quantized value, by name.
        biases: the bias before, of each node whose present one makes up for the rounding of its weight: it must go with
            that.
        seen: what was observed of the values that layers read which round by themselves, by name.
        fitted: as of `QdqEmitter`.

    Returns:
        Which element of the input is which.
    """
    places = switches(placement)
    wiring = _Wiring(graph, placement, places, biases)
    QdqEmitter(graph, scheme, ranges, wiring.wire, fitted).run(placement)
    for site in placement.weights:
        wiring.fork(site.node)
    lstms = IntegerLstms(graph, scheme.weight, seen)
    for node in placement.dynamic:
        wiring.choose(node, lstms.twin(node))
    graph.inputs.append(wiring.vector)
    return places


class _Wiring:
    """Puts a Where at each place."""

    def __init__(self, graph: ir.Graph, placement: Placement, places: list[Switch], biases: Biases) -> None:
        import onnx_ir as ir

        self.vector = ir.Value(name=SWITCHES, type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([len(places)]))
        self._graph, self._biases, self._taken = graph, biases, value_names(graph)
        self._weighted = {site.node for site in placement.weights}
        self._conditions = {switch: self._condition(index) for index, switch in enumerate(places)}

    def wire(self, reader: ir.Node | None, index: int, on: ir.Value, off: ir.Value) -> ir.Value:
        """The rounded value where the switch is on, else the float one; just the value where they are the same."""
        import onnx_ir as ir

        switch = (str(reader.name) if reader is not None else "", index)
        if reader in self._weighted and constant(off) is not None:
            switch = (switch[0], WEIGHT)
            off = self._bias_before(switch[0], off) if index == BIAS_INPUT else off
        if on is off:
            return on
        node = ir.node("Where", [self._conditions[switch], on, off])
        if reader is not None:
            self._graph.insert_before(reader, node)
        else:
            self._graph.insert_after(on.producer(), node)  # type: ignore[arg-type]
        return node.outputs[0]

    def fork(self, node: ir.Node) -> None:
        """Compute a layer by its rounded weight or by its float one, whichever is switched on.

        To choose between the weights themselves would copy all of them at every run, and a runtime would not know that
        they are constant: of Inception v3, 0.18 s of processor time where four small pictures take 0.02 s.
        """
        import onnx_ir as ir

        condition = self._conditions[str(node.name), WEIGHT]
        wheres = {index: where for index, value in enumerate(node.inputs) if (where := _chosen_by(condition, value))}
        if not wheres or len(node.outputs) != 1:
            return
        branches = {name: self._branch(node, wheres, side) for side, name in ((1, "then_branch"), (2, "else_branch"))}
        either = ir.node("If", [condition], branches, name=node.name)
        self._graph.insert_before(node, either)
        (old,), (new,) = node.outputs, either.outputs
        new.name, new.type, new.shape = old.name, old.type, old.shape
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        self._graph.remove(node, safe=True)
        self._graph.remove([where for where in wheres.values() if not where.outputs[0].uses()], safe=True)

    def _branch(self, node: ir.Node, wheres: Mapping[int, ir.Node], side: int) -> ir.Graph:
        """The layer with that input of each Where in its place, as the body of an If."""
        import onnx_ir as ir

        inputs = [wheres[index].inputs[side] if index in wheres else value for index, value in enumerate(node.inputs)]
        result = ir.Value(name=free_name(f"{node.outputs[0].name}_{side}", self._taken))
        result.type, result.shape = node.outputs[0].type, node.outputs[0].shape
        self._taken.add(str(result.name))
        copy = ir.Node(
            node.domain, node.op_type, inputs, node.attributes.values(), outputs=[result], name=str(result.name)
        )
        return ir.Graph([], [result], nodes=[copy], name=f"{node.name}_{side}")

    def choose(self, node: ir.Node, integers: ir.Node) -> None:
        """Give who reads results of a layer, under their names, those of its integer form where the switch is on."""
        import onnx_ir as ir

        integers.name = f"{node.name}/integers"
        taken = value_names(self._graph)
        for off, on in zip(node.outputs, integers.outputs, strict=True):
            if not off.name:
                continue
            result = ir.node("Where", [self._conditions[str(node.name), WEIGHT], on, on])
            self._graph.insert_after(integers, result)
            name, (chosen,) = off.name, result.outputs
            ir.convenience.replace_all_uses_with(off, chosen, replace_graph_outputs=True)
            result.replace_input_with(2, off)
            chosen.type, chosen.shape = off.type, off.shape
            off.name, chosen.name = free_name(f"{name}_float", taken), name

    def _bias_before(self, name: str, present: ir.Value) -> ir.Value:
        """The bias that goes with the float weight."""
        if name not in self._biases:
            return present
        before, array = self._biases[name], constant(present)
        assert array is not None
        old = np.zeros_like(array) if before is None else before
        return add_constant(self._graph, f"{present.name}_before", old, self._taken)

    def _condition(self, index: int) -> ir.Value:
        import onnx_ir as ir

        place = add_constant(self._graph, f"{SWITCHES}_{index}", np.asarray(index, np.int64), self._taken)
        node = ir.node("Gather", [self.vector, place], name=f"{SWITCHES}/{index}")
        self._graph.insert_before(self._graph[0], node)
        return node.outputs[0]


def _chosen_by(condition: ir.Value, value: ir.Value | None) -> ir.Node | None:
    """The Where that chooses a value by the condition."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == "Where" and node.inputs[0] is condition else None


def _readers(placement: Placement, value: ir.Value) -> list[tuple[ir.Node, int]]:
    """Who reads the value quantized: all of its consumers, or those that the placement names."""
    if value in placement.everywhere:
        return readers_in(value)
    return placement.edges[value]
