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

from ....calibration.affine import STEPS, SYMMETRIC_LIMIT
from ....calibration.statistics import ChannelStatistics, TensorStatistics
from ....profiles.device.target import Scheme
from ...graphs.values import add_constant, constant, drop_unused
from ..placement import Placement, WeightSite
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
            factors[str(value.name)] = scales
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


def _input_rows(site: WeightSite) -> Values:
    """The weight as (input channels, output channels)."""
    weight = constant(site.node.inputs[site.weight])
    assert weight is not None
    return (weight.T if site.axis == 0 else weight).astype(np.float64)


def _best_scales(channels: ChannelStatistics, sites: list[WeightSite], scheme: Scheme, gain: float) -> Values | None:
    weights = np.concatenate([_input_rows(site) for site in sites], axis=1)
    if len(weights) != len(channels.minimum):
        return None
    activation, weight = channels.largest(), np.abs(weights).max(axis=1)
    usable = (activation > 0) & (weight > 0)
    square = channels.mean_square()
    best, least = None, (1 - gain) * _noise(channels, square, weights, np.ones(len(weights)), scheme)
    for alpha in ALPHAS:
        scales = np.ones(len(weights))
        scales[usable] = activation[usable] ** alpha / weight[usable] ** (1 - alpha)
        scales[usable] /= np.exp(np.log(scales[usable]).mean())
        noise = _noise(channels, square, weights, scales, scheme)
        if noise < least:
            best, least = scales, noise
    return best


def _noise(channels: ChannelStatistics, square: Values, weights: Values, scales: Values, scheme: Scheme) -> float:
    """Expected squared error of the product, summed over outputs: rounding of activations plus rounding of weights.

    A uniform quantizer of step d adds d^2 / 12 to each element; the two roundings are independent.
    """
    low, high = _range(channels, scales)
    step = 2 * max(-low, high) / (2 * SYMMETRIC_LIMIT) if scheme.symmetric else (high - low) / STEPS
    scaled = weights * scales[:, None]
    weight_steps = np.abs(scaled).max(axis=0) / SYMMETRIC_LIMIT
    of_activations = step**2 / 12 * float((scaled**2).sum())
    of_weights = float((weight_steps**2).sum()) / 12 * float((square / scales**2).sum())
    return of_activations + of_weights


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
