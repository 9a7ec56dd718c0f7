"""Give the channels of an activation like ranges, by rescaling the weights before and behind it.

Cross-layer equalization (Nagel et al. 2019, section 4.1): what makes channel c is divided by s_c, what reads it is
multiplied. Through ReLU, pooling and residual additions that is exact. Through Clip (ReLU6) it is as long as a channel
stays within MARGIN of what calibration saw of it: its bound is in effect lowered, never to less than that.

The paper equalizes weights. They have a scale an output channel here, and gain little; activations have one a tensor.
So s_c is chosen as in SmoothQuant, for the least predicted noise of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....calibration.affine import step
from ....calibration.statistics import ChannelStatistics, TensorStatistics
from ....profiles.device.target import Scheme
from ...graphs.names import value_names
from ...graphs.values import add_constant, constant, drop_unused, number
from ..analysis.channel_domains import BIAS, WEIGHT, Domain, find_domains
from ..analysis.placed import Placement
from ..analysis.rounding_noise import ProductNoise, geometric_mean, rescaling
from .lifted import Lifted

if TYPE_CHECKING:
    import onnx_ir as ir

Values = npt.NDArray[np.float64]
States = Mapping["ir.Value", ChannelStatistics]
ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# Share of the predicted noise that must go.
GAIN = 0.02
# Samples to come may exceed those seen by this before a lowered Clip cuts them. Measured on mobilenet, in dB of SQNR
# (x86, TensorRT): 1.0 gives 33.7, 31.6; 1.1 gives 34.3, 31.6; 1.25 gives 33.9, 31.2; not equalized 33.8, 29.9.
MARGIN = 1.1


def lift(graph: ir.Graph, placement: Placement, statistics: Mapping[str, TensorStatistics], scheme: Scheme) -> Lifted:
    """Rewrite weights and biases in place.

    Args:
        statistics: of the float graph, with extremes per channel for the quantized values of each domain.
    """
    ranges: dict[str, tuple[float, float]] = {}
    factors: dict[str, Values] = {}
    domains, taken = 0, value_names(graph)
    quantized = {site.node for site in placement.weights}
    for domain in find_domains(graph):
        states = _states(domain, placement, statistics)
        sinks = [node for node in domain.sinks if node in quantized]
        scales = _best_scales(domain, states, sinks, scheme) if states and sinks else None
        if scales is None:
            continue
        _rescale(graph, taken, domain, scales)
        domains += 1
        found = _ranges(domain, states, scales)
        for members in _groups(states, placement):
            low, high = min(found[value][0] for value in members), max(found[value][1] for value in members)
            ranges.update(dict.fromkeys((str(value.name) for value in members), (low, high)))
        factors.update({str(value.name): scales for value in domain.values})
    return Lifted(note=f"{domains} sets of channels", ranges=ranges, factors=factors) if domains else Lifted()


def _groups(states: States, placement: Placement) -> list[list[ir.Value]]:
    """The quantized values by the range they share."""
    found: dict[ir.Value, list[ir.Value]] = {}
    for value in states:
        found.setdefault(placement.root(value), []).append(value)
    return list(found.values())


def _states(domain: Domain, placement: Placement, statistics: Mapping[str, TensorStatistics]) -> States:
    """State of the quantized values inside; empty where one lacks it, or shares its range with a value outside."""
    found: dict[ir.Value, ChannelStatistics] = {}
    for value in domain.values:
        if value not in placement.edges:
            continue
        channels = statistics[str(value.name)].channels
        if channels is None or not channels.minimum.size:
            return {}
        found[value] = channels
    groups = placement.groups()
    whole = all(len(groups[placement.root(members[0])]) == len(members) for members in _groups(found, placement))
    return found if whole else {}


def _best_scales(domain: Domain, states: States, sinks: list[ir.Node], scheme: Scheme) -> Values | None:
    activation = np.max([state.largest() for state in states.values()], axis=0)
    products = [ProductNoise(_columns(node), scheme.weight) for node in sinks]
    weight = np.max([product.largest.max(axis=1).reshape(-1) for product in products], axis=0)
    return rescaling(
        activation,
        weight,
        ALPHAS,
        lambda scales: _noise(domain, states, products, scales, scheme),
        GAIN,
        level=(lambda scales: float(scales.max())) if domain.bounds else geometric_mean,
        within=lambda scales: _within_bounds(domain, states, scales),
    )


def _within_bounds(domain: Domain, states: States, scales: Values) -> Values:
    """Where there is a Clip: at most 1, so that it cuts nothing later, and not so small that it cuts what was seen."""
    for value, bound in domain.bounds.items():
        seen = states[value].maximum if value in states else np.full(len(scales), bound)
        scales = np.clip(scales, np.clip(MARGIN * seen / bound, None, 1.0), 1.0)
    return scales


def _noise(domain: Domain, states: States, products: list[ProductNoise], scales: Values, scheme: Scheme) -> float:
    """Of what the sinks compute. Every quantized value is taken to reach every sink, as along a residual stream."""
    steps = [step(low, high, scheme.activation) for low, high in _ranges(domain, states, scales).values()]
    power = np.max([_power(state) for state in states.values()], axis=0) / scales**2
    return sum(product(steps, power, scales) for product in products)


def _power(state: ChannelStatistics) -> Values:
    """E[x^2] of each channel, guessed: extremes of a bell, or of half of one, lie 3.5 standard deviations out.

    The weights' noise is the smaller part, and exact squares would cost the calibration a pass over each feature map.
    """
    low, high = state.minimum.astype(np.float64), state.maximum.astype(np.float64)
    return (low**2 + low * high + high**2) / 12


def _ranges(domain: Domain, states: States, scales: Values) -> dict[ir.Value, tuple[float, float]]:
    """Extremes of x / s of each value, from those of its channels."""
    return {
        value: (
            min(0.0, float((state.minimum / scales).min())),
            min(max(0.0, float((state.maximum / scales).max())), domain.bounds.get(value, np.inf)),
        )
        for value, state in states.items()
    }


def _columns(node: ir.Node) -> npt.NDArray[np.float32]:
    """The weight as (groups, outputs of a group, inputs of a group, taps)."""
    weight = constant(node.inputs[WEIGHT])
    assert weight is not None
    if _inputs_first(node):
        weight = weight.T
    groups = int(number(node, "group", 1))
    return weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)


def _inputs_first(node: ir.Node) -> bool:
    """Whether the weight is (inputs, outputs), not (outputs, inputs)."""
    return node.op_type == "Gemm" and not number(node, "transB", 0)


def _rescale(graph: ir.Graph, taken: set[str], domain: Domain, scales: Values) -> None:
    """Divide what makes the channels, multiply what reads them."""
    for node in domain.sources:
        weight = constant(node.inputs[WEIGHT])
        assert weight is not None
        divisors = scales if _inputs_first(node) else scales.reshape(-1, *[1] * (weight.ndim - 1))
        _replace(graph, taken, node, WEIGHT, weight / divisors)
        if len(node.inputs) > BIAS and (bias := constant(node.inputs[BIAS])) is not None:
            _replace(graph, taken, node, BIAS, bias / scales)
    for node in domain.sinks:
        weight = constant(node.inputs[WEIGHT])
        assert weight is not None
        columns = _columns(node)
        scaled = columns * scales.reshape(len(columns), 1, -1, 1)
        shape = weight.shape
        scaled = scaled.reshape(shape[::-1]).T if _inputs_first(node) else scaled.reshape(shape)
        _replace(graph, taken, node, WEIGHT, scaled)


def _replace(graph: ir.Graph, taken: set[str], node: ir.Node, index: int, array: Values) -> None:
    old = node.inputs[index]
    assert old is not None
    new = add_constant(graph, f"{old.name}_equalized", array.astype(np.float32), taken)
    node.replace_input_with(index, new)
    drop_unused(graph, old)
