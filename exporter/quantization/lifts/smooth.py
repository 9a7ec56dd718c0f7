"""Move the range of outlier channels from the activations of a matrix product into its weights.

SmoothQuant (Xiao et al. 2023): x W = (x / s) (s W) with one s per input channel. The division is folded into the
constants that make x where that is possible (fold_scales), and is one Mul otherwise. Each group of products that read
the same tensor gets the strength alpha with the least predicted noise, and is left alone where that does not pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....calibration.affine import step
from ....calibration.statistics import ChannelStatistics, TensorStatistics
from ....profiles.device.target import Scheme
from ...graphs.values import add_constant, constant, drop_unused
from ..analysis.placed import Placement
from ..analysis.rounding_noise import ProductNoise, geometric_mean, rescaling
from ..analysis.weight_site import WeightSite
from .fold_scales import fold_of
from .lifted import Lifted

if TYPE_CHECKING:
    import onnx_ir as ir

Values = npt.NDArray[np.float64]
ALPHAS = (0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
# Share of the predicted noise that must go: a Mul costs time, folding into a norm costs nothing.
GAIN_FOR_MUL, GAIN_FOR_FOLD = 0.3, 0.02


def lift(graph: ir.Graph, placement: Placement, statistics: Mapping[str, TensorStatistics], scheme: Scheme) -> Lifted:
    """Rewrite graph and placement in place.

    Args:
        statistics: of the float graph, per channel along the last axis for the inputs of matrix products.
    """
    ranges: dict[str, tuple[float, float]] = {}
    factors: dict[str, Values] = {}
    folded = multiplied = 0
    for value, sites in _groups(placement).items():
        channels = statistics[str(value.name)].channels
        if channels is None or not channels.minimum.size:
            continue
        free = fold_of(value, len(sites), np.ones(len(channels.minimum))) is not None
        scales = _best_scales(channels, sites, scheme, GAIN_FOR_FOLD if free else GAIN_FOR_MUL)
        if scales is None:
            continue
        for site in sites:
            _scale_weight(graph, site, scales)
        fold = fold_of(value, len(sites), scales)
        if fold is not None:
            fold.apply(graph)
            factors |= {**fold.factors, str(value.name): scales}
            smoothed, folded = value, folded + 1
        else:
            smoothed, multiplied = _multiply(graph, placement, value, sites, scales), multiplied + 1
        ranges[str(smoothed.name)] = _range(channels, scales)
    note = f"{folded} tensors folded into what makes them, {multiplied} through a Mul"
    return Lifted(note=note, ranges=ranges, factors=factors) if ranges else Lifted()


def _groups(placement: Placement) -> dict[ir.Value, list[WeightSite]]:
    """Products by the value they read, where nothing but products reads it quantized and its range is its own."""
    groups: dict[ir.Value, list[WeightSite]] = {}
    for site in placement.weights:
        value = site.node.inputs[site.data]
        if value is not None and site.node.op_type in ("MatMul", "Gemm") and site.weight == 1 and site.axis is not None:
            groups.setdefault(value, []).append(site)
    members = placement.groups()
    return {
        value: sites
        for value, sites in groups.items()
        if value not in placement.everywhere
        and len(members[placement.root(value)]) == 1
        and len(sites) == len(placement.edges[value])
    }


def _by_input(site: WeightSite) -> npt.NDArray[np.float32]:
    """The weight as (1, output channels, input channels, 1)."""
    weight = constant(site.node.inputs[site.weight])
    assert weight is not None
    return (weight if site.axis == 0 else weight.T)[None, :, :, None]


def _best_scales(channels: ChannelStatistics, sites: list[WeightSite], scheme: Scheme, gain: float) -> Values | None:
    products, square = [ProductNoise(_by_input(site), scheme.weight) for site in sites], channels.mean_square()
    if any(product.largest.shape[2] != len(channels.minimum) for product in products):
        return None
    largest = np.max([product.largest.max(axis=(0, 1)) for product in products], axis=0)

    def noise(scales: Values) -> float:
        power, steps = square / scales**2, [step(*_range(channels, scales), scheme.activation)]
        return sum(product(steps, power, scales) for product in products)

    return rescaling(channels.largest(), largest, ALPHAS, noise, gain, level=geometric_mean)


def _range(channels: ChannelStatistics, scales: Values) -> tuple[float, float]:
    """Extremes of x / s, from those of each channel."""
    return min(0.0, float((channels.minimum / scales).min())), max(0.0, float((channels.maximum / scales).max()))


def _scale_weight(graph: ir.Graph, site: WeightSite, scales: Values) -> None:
    old = site.node.inputs[site.weight]
    weight = constant(old)
    assert old is not None and weight is not None
    scaled = weight * (scales[None, :] if site.axis == 0 else scales[:, None])
    site.node.replace_input_with(site.weight, add_constant(graph, f"{old.name}_smoothed", scaled.astype(np.float32)))
    drop_unused(graph, old)


def _multiply(
    graph: ir.Graph, placement: Placement, value: ir.Value, sites: list[WeightSite], scales: Values
) -> ir.Value:
    import onnx_ir as ir

    factor = add_constant(graph, f"{value.name}_factor", (1 / scales).astype(np.float32))
    node = ir.node("Mul", [value, factor], name=f"{value.name}_smooth")
    result = node.outputs[0]
    result.name, result.type, result.shape = f"{value.name}_smoothed", value.type, value.shape
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], node)
    else:
        graph.insert_after(producer, node)
    for site in sites:
        site.node.replace_input_with(site.data, result)
    placement.edges[result] = placement.edges.pop(value)
    return result
