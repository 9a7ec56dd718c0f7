"""Decide which tensors of a graph a scheme quantizes, before any data is seen.

Placement follows the role of a tensor, not what an operator could do: the inputs of weighted operators everywhere;
results, residual branches and pooling only in convolutional regions. Norms, softmax, GELU and the residual stream of a
transformer are never touched, nor is what `preprocess` and `postprocess` compute around the network.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ....calibration.statistics import TensorStatistics
from ....profiles.device.target import Scheme
from ...capture.scopes import is_around
from ...graphs.values import constant, single_consumer, sizes
from ..rewrites.dynamic_lstm import why_not_integer
from ..rewrites.patches_to_gemm import cuts_patches
from .alone import release_alone
from .channel_domains import find_domains
from .one_scale import fits_channels
from .placed import Placement
from .region import in_region, nodes_in_region
from .streams import becomes_peaks, feeds_stream, leaves_unweighted
from .ties import TIES, read_in_integers
from .weight_site import CONVOLUTIONS, WeightSite, weight_site

if TYPE_CHECKING:
    import onnx_ir as ir

# ONNX has no integer form of them that Q/DQ around the node could stand for: their products are inside.
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_UNEVEN = "the channels of its result differ so much in range that one scale would lose the small ones"
_PEAKS = "peaks are looked for in its result, and in 8 bits neighbours are equal"


def place(
    graph: ir.Graph,
    scheme: Scheme,
    exclude: Sequence[str] = (),
    seen: Mapping[str, TensorStatistics] | None = None,
) -> Placement:
    """Decide what the scheme quantizes in this graph.

    Args:
        exclude: node names, operator types or shell patterns of either that stay float.
        seen: what was observed of the values that are quantized without it, by name. With it, values that no one scale
            can hold do not share one; what is quantized is part of what was without it.
    """
    placement = Placement()
    for node in graph:
        if is_around(node):
            if node.op_type in scheme.weighted:
                placement.left[str(node.name)] = "it is computed around the network, which stays float"
        elif node.domain == "" and node.op_type in scheme.weighted:
            _weighted(node, scheme, exclude, placement)
        elif node.domain == "" and node.op_type in RECURRENT:
            _recurrent(node, scheme, exclude, placement)
    for rule in (_residuals, _around, _gates, _heads, _alone, *TIES):
        rule(graph, scheme, placement, seen or {})
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
    if why := "excluded by the user" if excluded(node, exclude) else _why_left(site, scheme):
        placement.left[name] = why
        return
    result = _after_activation(node.outputs[0], scheme)
    quantize_result = node.op_type in scheme.outputs and not feeds_stream(result)
    if node.op_type in scheme.outputs and scheme.result_needed and not quantize_result:
        if not (scheme.rows and scheme.weight.block is None and cuts_patches(node)):
            placement.left[name] = "its result is a transformer's residual stream, which stays float"
            return
        placement.patches.append(node)
    placement.weights.append(site)
    placement.read(node, site.data)
    if quantize_result:
        placement.whole(result)


def _recurrent(node: ir.Node, scheme: Scheme, exclude: Sequence[str], placement: Placement) -> None:
    """A layer of the scheme's `dynamic`, or one that stays float."""
    why = scheme.why_left(node.op_type, ()) or f"{node.op_type} has no int8 form in Q/DQ"
    if node.op_type in scheme.dynamic:
        why = "excluded by the user" if excluded(node, exclude) else why_not_integer(node, scheme.weight)
    if why:
        placement.left[str(node.name or node.op_type)] = why
    else:
        placement.dynamic.append(node)


def _why_left(site: WeightSite, scheme: Scheme) -> str:
    weight = constant(site.node.inputs[site.weight])
    assert weight is not None
    return scheme.why_left(site.node.op_type, weight.shape, sizes(site.node.inputs[site.data]))


def _after_activation(value: ir.Value, scheme: Scheme) -> ir.Value:
    """The value after the activation that the runtime fuses into the operator, or the value itself."""
    consumer = single_consumer(value)
    if consumer is not None and consumer.domain == "" and consumer.op_type in scheme.fused:
        return consumer.outputs[0]
    return value


def _residuals(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    order = {node: index for index, node in enumerate(graph)}
    for node in graph:
        if scheme.residual == "none" or node.domain != "" or node.op_type != "Add" or is_around(node):
            continue
        if any(constant(v) is not None for v in node.inputs) or not any(in_region(v, scheme) for v in node.inputs):
            continue
        if scheme.residual == "both":
            result = _after_activation(node.outputs[0], scheme)
            if _keeps_channels(result, scheme, placement, seen) or read_in_integers(result, scheme, placement):
                placement.read(node, 0)
                placement.read(node, 1)
                placement.whole(result)
        elif (skip := _skip_branch(node, order)) is not None and _keeps_channels(
            node.inputs[skip], scheme, placement, seen
        ):
            placement.read(node, skip)


def _keeps_channels(
    value: ir.Value | None, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]
) -> bool:
    """Whether one scale keeps what the user sees of a value; inside the model, weights make up for small channels."""
    if value is None or not leaves_unweighted(value, scheme.weighted):
        return True
    placement.leaving.add(value)
    return fits_channels(seen.get(str(value.name)))


def _skip_branch(node: ir.Node, order: dict[ir.Node, int]) -> int | None:
    """Index of the Add's input that is not the convolution it fuses with; None where no convolution feeds it.

    Where both inputs are convolutions, the later one is fused: it is the last to run before the Add.
    """
    producers = [value.producer() if value is not None else None for value in node.inputs]
    fusable = [i for i, p in enumerate(producers) if p is not None and p.op_type in CONVOLUTIONS]
    if not fusable:
        return None
    return 1 - max(fusable, key=lambda i: order[producers[i]])  # type: ignore[index]


def _around(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    for node in nodes_in_region(graph, scheme.around, scheme):
        if is_around(node):
            continue
        result = node.outputs[0]
        if _keeps_channels(result, scheme, placement, seen) or read_in_integers(result, scheme, placement):
            placement.read(node, 0)
            placement.whole(result)


def _gates(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    """A quantized value times a function of itself is computed in integers: function and product get grids too."""
    for node in graph:
        if node.domain != "" or node.op_type != "Mul" or is_around(node):
            continue
        result = node.outputs[0]
        for value, factor in (node.inputs, reversed(node.inputs)):
            if value not in placement.everywhere or factor is None or not _gates_itself(value, factor, scheme):
                continue
            if _keeps_channels(result, scheme, placement, seen) or read_in_integers(result, scheme, placement):
                placement.gates.add(factor)
                placement.whole(factor)
                placement.whole(result)


def _gates_itself(value: ir.Value | None, factor: ir.Value, scheme: Scheme) -> bool:
    """Whether the factor is a gate's function of the value, for one product only."""
    gate = factor.producer()
    if gate is None or gate.domain != "" or gate.op_type not in scheme.gated:
        return False
    return gate.inputs[0] is value and single_consumer(factor) is not None


def _heads(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    """Results that no integer kernel reads: float where the kernel can give floats, and where one scale is too coarse.

    Where the kernel gives integers only, a result that leaves the model stays quantized unless its channels (boxes
    beside scores) are of so different ranges that the small ones would vanish, or peaks are looked for among them.
    """
    for site in list(placement.weights):
        result = _after_activation(site.node.outputs[0], scheme)
        if result not in placement.everywhere:
            continue
        # Seen by channel in any case: an operator that reads it in integers may turn out not to.
        kept = _keeps_channels(result, scheme, placement, seen)
        if read_in_integers(result, scheme, placement):
            continue
        if not scheme.result_needed:
            placement.release(result)
        elif result in placement.leaving:
            placement.heads[result] = site
            if why := _UNEVEN if not kept else _PEAKS if becomes_peaks(result) else "":
                _float_result(site, result, scheme, placement, why)


def _alone(graph: ir.Graph, scheme: Scheme, placement: Placement, seen: Mapping[str, TensorStatistics]) -> None:
    release_alone(graph, scheme, placement)


def _float_result(site: WeightSite, result: ir.Value, scheme: Scheme, placement: Placement, why: str) -> None:
    """Leave the result of a head float: as a Gemm over patches where that can be, else the whole operator."""
    placement.release(result)
    if scheme.rows and scheme.weight.block is None and cuts_patches(site.node):
        placement.patches.append(site.node)
        return
    data = site.node.inputs[site.data]
    assert data is not None
    placement.weights.remove(site)
    placement.edges[data].remove((site.node, site.data))
    if not placement.edges[data] and data not in placement.everywhere:
        del placement.edges[data]
    placement.left[str(site.node.name or site.node.op_type)] = why
