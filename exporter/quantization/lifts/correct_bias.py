"""Add to each bias what the rounding of the weights takes from the mean of the output.

The error of y = W x has the mean (Wq - W) E[x]; subtracting it from the bias costs nothing at run time (Nagel et al.
2019, section 4.2). Padding is ignored: E[x] is taken to hold at every position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....calibration.affine import dequantized_weight, weight_scales
from ....calibration.statistics import TensorStatistics
from ....profiles.device.grid import Grid
from ....profiles.device.target import Scheme
from ...graphs.names import value_names
from ...graphs.values import add_constant, constant, number
from ..analysis.placed import Placement
from ..analysis.weight_site import WeightSite
from ..emitter import BIAS_INPUT
from .lifted import Lifted

if TYPE_CHECKING:
    import onnx_ir as ir

CORRECTED = ("Conv", "Gemm")


def lift(graph: ir.Graph, placement: Placement, statistics: Mapping[str, TensorStatistics], scheme: Scheme) -> Lifted:
    """Rewrite in place the bias of every quantized Conv and Gemm."""
    before: dict[str, npt.NDArray[np.float32] | None] = {}
    taken = value_names(graph)
    for site in placement.weights:
        value = site.node.inputs[site.data]
        state = statistics.get(str(value.name)) if value is not None else None
        if site.node.op_type in CORRECTED and state is not None and state.channels is not None:
            bias = bias_of(site.node)
            if bias is None or bias.ndim == 1:
                _correct(graph, taken, site, scheme.weight, bias, state.channels.mean())
                before[str(site.node.name)] = bias
    return Lifted(note=f"{len(before)} layers", biases=before) if before else Lifted()


def undo(graph: ir.Graph, before: Mapping[str, npt.NDArray[np.float32] | None]) -> None:
    """Give layers the biases back that they had, or zeros.

    Args:
        before: as `Lifted.biases`.
    """
    for node in graph:
        name = str(node.name)
        if name in before and (present := bias_of(node)) is not None:
            array = np.zeros_like(present) if (bias := before[name]) is None else bias
            node.replace_input_with(BIAS_INPUT, add_constant(graph, f"{name}_bias_before", array))


def _correct(
    graph: ir.Graph,
    taken: set[str],
    site: WeightSite,
    grid: Grid,
    bias: npt.NDArray[np.float32] | None,
    mean: npt.NDArray[np.float64],
) -> None:
    weight = constant(site.node.inputs[site.weight])
    assert weight is not None
    axis = site.scale_axis(grid)
    rounded = dequantized_weight(weight, weight_scales(weight, axis, grid), axis, grid)
    error = rounded.astype(np.float64) - weight
    shift = _mean_of_output(site.node, error, mean)
    new = (-shift if bias is None else bias - shift).astype(np.float32)
    value = add_constant(graph, f"{site.node.inputs[site.weight].name}_bias", new, taken)  # type: ignore[union-attr]
    if len(site.node.inputs) <= BIAS_INPUT:
        site.node.resize_inputs(BIAS_INPUT + 1)
    old = site.node.inputs[BIAS_INPUT]
    site.node.replace_input_with(BIAS_INPUT, value)
    if old is not None and old.is_initializer() and not old.uses():
        del graph.initializers[str(old.name)]


def bias_of(node: ir.Node) -> npt.NDArray[np.float32] | None:
    """The constant bias of a weighted node."""
    return constant(node.inputs[BIAS_INPUT]) if len(node.inputs) > BIAS_INPUT else None


def _mean_of_output(
    node: ir.Node, error: npt.NDArray[np.float64], mean: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean over positions of (error * x), one value an output channel."""
    if node.op_type == "Gemm":
        return mean @ (error.T if number(node, "transB", 0) else error)
    summed = error.reshape(*error.shape[:2], -1).sum(axis=2)  # (output, input channels of the group)
    groups = int(number(node, "group", 1))
    inputs = np.repeat(mean.reshape(groups, -1), len(summed) // groups, axis=0)
    shift: npt.NDArray[np.float64] = (summed * inputs).sum(axis=1)
    return shift
