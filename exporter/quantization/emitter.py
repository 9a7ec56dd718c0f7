"""Insert explicit QuantizeLinear/DequantizeLinear pairs where a placement says, in the form a scheme wants.

The one writer of a placement: what is shipped and what layers are judged by differ in the wiring alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...calibration.affine import Affine, quantize_weight, weight_scales
from ...profiles.device.grid import Grid
from ...profiles.device.target import Scheme
from ..graphs.names import free_name, value_names
from ..graphs.values import add_constant, as_float32, constant
from .analysis.placed import Placement
from .analysis.weight_site import WeightSite
from .fitted import FittedWeight, weight_digest

if TYPE_CHECKING:
    import onnx_ir as ir

INT32_MAX = float(np.iinfo(np.int32).max)
BIAS_INPUT = 2
# What input `index` of a reader gets: of the rounded value and the float one, in this order. Without a reader it is the
# graph's output `index`. A bias is offered even where both are the same.
Wire = Callable[["ir.Node | None", int, "ir.Value", "ir.Value"], "ir.Value"]


def rounded(reader: ir.Node | None, index: int, on: ir.Value, off: ir.Value) -> ir.Value:
    """The wiring of a graph that is shipped."""
    return on


class QdqEmitter:
    """Rewrites a graph in place; one instance a graph."""

    def __init__(
        self,
        graph: ir.Graph,
        scheme: Scheme,
        ranges: Mapping[str, Affine],
        wire: Wire = rounded,
        fitted: Mapping[str, FittedWeight] | None = None,
    ) -> None:
        """Prepare.

        Args:
            graph: the float graph that the placement was made for.
            ranges: scale and zero point of each quantized value, by name.
            wire: asked at each place where something is rounded.
            fitted: weights that are rounded otherwise than to the nearest, by the name of the node that reads them.
        """
        self.graph = graph
        self.scheme = scheme
        self.ranges = ranges
        self.fitted = fitted or {}
        self._wire = wire
        self._taken = value_names(graph)
        self._stored: dict[tuple[ir.Value, int | None, bytes, str], tuple[ir.Value, ir.Value, ir.Value]] = {}

    def run(self, placement: Placement) -> None:
        """Quantize weights, biases and activations."""
        for site in placement.weights:
            self._weight(site)
        for value, readers in placement.edges.items():
            self._activation(value, readers, everywhere=value in placement.everywhere)

    def _weight(self, site: WeightSite) -> None:
        value = site.node.inputs[site.weight]
        data = site.node.inputs[site.data]
        assert value is not None and data is not None and data.name is not None
        weight = constant(value)
        assert weight is not None
        if (fitted := self._fitted(site, weight)) is None:
            scales = weight_scales(weight, site.scale_axis(self.scheme.weight), self.scheme.weight)
        else:
            weight, scales = fitted.values, fitted.scales
        bias = self._bias(site.node)
        if bias is not None:
            bias = bias if fitted is None or fitted.bias is None else fitted.bias
            scales = self._wide_enough(scales, self.ranges[data.name].scale, bias)
            self._quantize_bias(site.node, scales * np.float32(self.ranges[data.name].scale), bias)
        elif len(site.node.inputs) > BIAS_INPUT and (plain := site.node.inputs[BIAS_INPUT]) is not None:
            new = None if fitted is None or fitted.bias is None else self._constant(f"{plain.name}_fitted", fitted.bias)
            self._replace(site.node, BIAS_INPUT, plain if new is None else new)
        self._replace(site.node, site.weight, self._weight_pair(value, weight, scales, site, own=fitted is None))

    def _fitted(self, site: WeightSite, weight: npt.NDArray[np.float32]) -> FittedWeight | None:
        """What data have decided for this very weight."""
        found = self.fitted.get(str(site.node.name))
        return found if found is not None and found.of == weight_digest(weight) else None

    def _weight_pair(
        self,
        value: ir.Value,
        weight: npt.NDArray[np.float32],
        scales: npt.NDArray[np.float32],
        site: WeightSite,
        *,
        own: bool,
    ) -> ir.Value:
        """The dequantized weight: a stored integer tensor, or the float one behind its own QuantizeLinear.

        Args:
            own: it is the value's, and not one that data have decided for this layer.
        """
        grid, axis = self.scheme.weight, site.scale_axis(self.scheme.weight)
        key = (value, axis, scales.tobytes(), "" if own else str(site.node.name))
        if key not in self._stored:
            self._stored[key] = self._stored_weight(value, weight, scales, axis, own=own)
        stored, scale, zero = self._stored[key]
        how = {name: size for name, size in (("axis", axis), ("block_size", grid.block)) if size is not None}
        if self.scheme.weight_storage == "float":
            stored = self._node("QuantizeLinear", [stored, scale, zero], how, f"{value.name}", site.node)
        return self._node("DequantizeLinear", [stored, scale, zero], how, f"{value.name}", site.node)

    def _stored_weight(
        self,
        value: ir.Value,
        weight: npt.NDArray[np.float32],
        scales: npt.NDArray[np.float32],
        axis: int | None,
        *,
        own: bool,
    ) -> tuple[ir.Value, ir.Value, ir.Value]:
        """The tensor that holds a weight, its scales and its zero points, once for all who read it."""
        grid = self.scheme.weight
        scale = self._constant(f"{value.name}_scale", scales)
        zero = self._constant(f"{value.name}_zero_point", np.zeros(scales.shape, _dtype(grid)))
        if self.scheme.weight_storage == "float":
            return value if own else self._constant(f"{value.name}_fitted", weight), scale, zero
        integers = quantize_weight(weight, scales, axis, grid).astype(_dtype(grid))
        return self._constant(f"{value.name}_quantized", integers), scale, zero

    def _bias(self, node: ir.Node) -> npt.NDArray[np.float32] | None:
        """The bias to quantize; None where the scheme leaves it float or there is none to quantize."""
        if self.scheme.bias != "int32" or node.op_type == "MatMul" or len(node.inputs) <= BIAS_INPUT:
            return None
        bias = constant(node.inputs[BIAS_INPUT])
        return bias if bias is not None and bias.ndim == 1 else None

    @staticmethod
    def _wide_enough(
        scales: npt.NDArray[np.float32], activation: float, bias: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Weight scales large enough for the int32 bias, whose scale is theirs times the activation's.

        A channel whose weights are tiny against its bias would overflow int32; onnxruntime then wraps silently.
        """
        needed = np.abs(bias) / (INT32_MAX * 0.5 * activation)
        return np.maximum(scales, needed if scales.ndim else needed.max()).astype(np.float32)

    def _quantize_bias(self, node: ir.Node, scales: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> None:
        old = node.inputs[BIAS_INPUT]
        assert old is not None
        # Of tiny activations and weights the product may be 0: nothing of such a bias is left, and 0 / 0 is no number.
        steps = np.divide(bias, scales, out=np.zeros_like(bias), where=scales > 0)
        integers = np.clip(np.rint(steps), -INT32_MAX, INT32_MAX).astype(np.int32)
        stored = self._constant(f"{old.name}_quantized", integers)
        scale = self._constant(f"{old.name}_scale", scales)
        zero = self._constant(f"{old.name}_zero_point", np.zeros(scales.shape, np.int32))
        axis = {"axis": 0} if scales.ndim else {}
        self._replace(
            node, BIAS_INPUT, self._node("DequantizeLinear", [stored, scale, zero], axis, f"{old.name}", node)
        )

    def _activation(self, value: ir.Value, readers: list[tuple[ir.Node, int]], *, everywhere: bool) -> None:
        affine = self.ranges[str(value.name)]
        scale = self._constant(f"{value.name}_scale", as_float32(affine.scale))
        zero = self._constant(f"{value.name}_zero_point", np.asarray(affine.zero_point, _dtype(self.scheme.activation)))
        uses = readers_in(value) if everywhere else readers
        first = value.producer()
        quantized = self._node("QuantizeLinear", [value, scale, zero], {}, str(value.name), first, after=True)
        result = self._node(
            "DequantizeLinear", [quantized, scale, zero], {}, str(value.name), quantized.producer(), after=True
        )
        for node, index in uses:
            node.replace_input_with(index, self._wire(node, index, result, value))
        if everywhere and value.is_graph_output():
            self._become_output(value, result)

    def _become_output(self, value: ir.Value, result: ir.Value) -> None:
        """Give the graph the dequantized value under the name that its users know."""
        name, index = value.name, output_index(value)
        result = self._wire(None, index, result, value)
        value.name = self._unique(f"{name}_float")
        result.name = name
        result.shape, result.type = value.shape, value.type
        self.graph.outputs[index] = result

    def _replace(self, node: ir.Node, index: int, value: ir.Value) -> None:
        old = node.inputs[index]
        assert old is not None
        if (wired := self._wire(node, index, value, old)) is old:
            return
        node.replace_input_with(index, wired)
        if old.is_initializer() and not old.uses() and not old.is_graph_output():
            del self.graph.initializers[str(old.name)]

    def _node(
        self,
        operator: str,
        inputs: list[ir.Value],
        attributes: dict[str, int],
        stem: str,
        anchor: ir.Node | None,
        *,
        after: bool = False,
    ) -> ir.Value:
        """Add a node before (or after) the anchor, at the start of the graph without one; return its result."""
        import onnx_ir as ir

        name = self._unique(f"{stem}_{operator}")
        node = ir.node(operator, inputs, attributes, name=name)
        result = node.outputs[0]
        result.name = self._unique(f"{stem}_{'quantized' if operator == 'QuantizeLinear' else 'dequantized'}")
        if anchor is None:
            self.graph.insert_before(self.graph[0], node)
        elif after:
            self.graph.insert_after(anchor, node)
        else:
            self.graph.insert_before(anchor, node)
        return result

    def _constant(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        return add_constant(self.graph, name, array, self._taken)

    def _unique(self, name: str) -> str:
        found = free_name(name, self._taken)
        self._taken.add(found)
        return found


def readers_in(value: ir.Value) -> list[tuple[ir.Node, int]]:
    """The readers of a value in its own graph; those in the bodies of If and Loop nodes read the float one."""
    return [(use.node, use.idx) for use in value.uses() if use.node.graph is value.graph]


def output_index(value: ir.Value) -> int:
    """Which of the graph's outputs a value is."""
    graph = value.graph
    assert graph is not None
    return next(index for index, output in enumerate(graph.outputs) if output is value)


def _dtype(grid: Grid) -> npt.DTypeLike:
    """The grid's integer type for numpy, which has none of 4 bits itself."""
    import onnx_ir as ir

    return ir.DataType[grid.dtype.upper()].numpy()
