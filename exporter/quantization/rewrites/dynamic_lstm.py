"""Write LSTMs as onnxruntime's DynamicQuantizeLSTM, which multiplies integers.

It has its weights as int8, a scale for each gate of each unit, and rounds what it reads while it runs: the whole input
on one scale, and the state of all samples on another one at each step. ONNX has no Q/DQ form of that. One sample far
beyond what was seen would set the scale of all others, so that what the layer reads is clipped, as Q/DQ clips it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....calibration.affine import quantize_weight, weight_scales
from ....calibration.statistics import TensorStatistics
from ....profiles.device.grid import Grid
from ...graphs.names import free_name, value_names
from ...graphs.values import add_constant, as_float32, constant, drop_unused, number

if TYPE_CHECKING:
    import onnx_ir as ir

DOMAIN, VERSION, OPERATOR = "com.microsoft", 1, "DynamicQuantizeLSTM"
# Inputs of an LSTM, those not given included: X, W, R, B, sequence_lens, initial_h, initial_c, P.
INPUTS = 8
# How the kernel takes weights.
GRID = Grid(bits=8, signed=True, symmetric=True, granularity="channel")
# What is beyond so many times the calibrated range is clipped: up to there the scale follows, at the price of one bit.
ROOM = 2.0
# Input indices of the weights of an ONNX LSTM, both (directions, 4 * hidden, inputs): of what comes in, of the state.
WEIGHTS = (1, 2)


def why_not_integer(node: ir.Node, grid: Grid) -> str:
    """Why a layer cannot be computed by such a kernel; empty where it can."""
    weights = [constant(node.inputs[index]) for index in WEIGHTS]
    if any(weight is None for weight in weights):
        return "its weights are computed, not constant"
    if wrong := [weight.dtype for weight in weights if weight is not None and weight.dtype != np.float32]:
        return f"its weights are {wrong[0]}, not float32"
    if number(node, "layout", 0):
        return "its batch is the first axis (layout 1), which the integer kernel does not take"
    if replace(grid, used=None) != GRID:
        return f"its integer kernel takes weights of {GRID}, not of {grid}"
    return ""


def rows_of(node: ir.Node) -> npt.NDArray[np.float32]:
    """Both weights, an output channel a row: (directions * 4 * hidden, inputs + hidden)."""
    found = [constant(node.inputs[index]) for index in WEIGHTS]
    return np.concatenate([weight.reshape(-1, weight.shape[-1]) for weight in found if weight is not None], axis=1)


class IntegerLstms:
    """Makes the integer nodes of one graph; what several layers read is stored, or clipped, once."""

    def __init__(self, graph: ir.Graph, grid: Grid, seen: Mapping[str, TensorStatistics]) -> None:
        """Prepare, for weights on this grid; `seen` holds what the layers read, by name."""
        self._graph, self._grid, self._seen = graph, grid, seen
        self._clipped: dict[ir.Value, ir.Value] = {}
        self._stored: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]] = {}

    def twin(self, node: ir.Node) -> ir.Node:
        """A node behind an LSTM that computes the same in integers, its results named after those of the LSTM."""
        import onnx_ir as ir

        inputs = [*node.inputs, *[None] * (INPUTS - len(node.inputs))]
        inputs[0] = self._within(inputs[0], node)
        scales: list[ir.Value] = []
        for index in WEIGHTS:
            inputs[index], *scale_and_zero = self._weight(inputs[index])
            scales += scale_and_zero
        attributes = {name: given for name, given in node.attributes.items() if name != "layout"}
        made = ir.node(
            OPERATOR, [*inputs, *scales], attributes, domain=DOMAIN, num_outputs=len(node.outputs), name=node.name
        )
        taken = value_names(self._graph)
        for old, new in zip(node.outputs, made.outputs, strict=True):
            new.name = free_name(f"{old.name}_integers", taken) if old.name else ""
            new.type, new.shape = old.type, old.shape
        self._graph.insert_after(node, made)
        self._graph.opset_imports[DOMAIN] = VERSION
        return made

    def _within(self, value: ir.Value | None, reader: ir.Node) -> ir.Value:
        """The value, clipped to what was seen of it and some room; as it is where it was 0 only."""
        import onnx_ir as ir

        assert value is not None
        if value not in self._clipped:
            state = self._seen[str(value.name)]
            low, high = ROOM * min(0.0, state.minimum), ROOM * max(0.0, state.maximum)
            if low == high:
                return value
            limits = [
                add_constant(self._graph, f"{value.name}_{name}", as_float32(limit))
                for name, limit in (("lowest", low), ("highest", high))
            ]
            node = ir.node("Clip", [value, *limits], name=f"{reader.name}/Clip")
            (clipped,) = node.outputs
            clipped.name = free_name(f"{value.name}_clipped", value_names(self._graph))
            clipped.type, clipped.shape = value.type, value.shape
            self._graph.insert_before(reader, node)
            self._clipped[value] = clipped
        return self._clipped[value]

    def _weight(self, value: ir.Value | None) -> tuple[ir.Value, ir.Value, ir.Value]:
        """The weight as the kernel reads it, (directions, inputs, 4 * hidden), its scales and zero points."""
        assert value is not None
        if value not in self._stored:
            weight = constant(value)
            assert weight is not None
            rows = weight.reshape(-1, weight.shape[-1])
            scales = weight_scales(rows, 0, self._grid)
            integers = quantize_weight(rows, scales, 0, self._grid).astype(np.int8).reshape(weight.shape)
            scales = scales.reshape(weight.shape[:2])
            self._stored[value] = (
                add_constant(self._graph, f"{value.name}_quantized", integers.transpose(0, 2, 1).copy()),
                add_constant(self._graph, f"{value.name}_scale", scales),
                add_constant(self._graph, f"{value.name}_zero_point", np.zeros(scales.shape, np.int8)),
            )
        return self._stored[value]


def to_integer_lstms(
    graph: ir.Graph, nodes: Iterable[ir.Node], grid: Grid, seen: Mapping[str, TensorStatistics]
) -> None:
    """Replace these LSTMs of a graph in place; values keep their names. `seen` as for `IntegerLstms`."""
    import onnx_ir as ir

    lstms = IntegerLstms(graph, grid, seen)
    for node in nodes:
        made = lstms.twin(node)
        names = [value.name for value in node.outputs]
        ir.convenience.replace_all_uses_with(node.outputs, made.outputs, replace_graph_outputs=True)
        inputs = [value for value in node.inputs if value is not None]
        graph.remove(node, safe=True)
        for value, name in zip(made.outputs, names, strict=True):
            value.name = name
        for value in inputs:
            drop_unused(graph, value)
