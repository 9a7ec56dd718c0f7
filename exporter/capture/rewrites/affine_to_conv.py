"""Put arithmetic with constants beside a convolution into its weight and bias.

Networks with a learned scale and shift beside each convolution, as PP-OCRv4's, come as Mul and Add with one number.
onnxruntime 1.31 fuses constants a channel into a convolution, one number it does not; and where integers are behind,
each pass over the feature map is float arithmetic between two conversions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.names import free_name, value_names
from ...graphs.values import add_constant, constant, drop_unused, number, remove_unread, single_consumer
from ..scopes import is_around
from .by_channel import ChannelStep, Wide, step_of

if TYPE_CHECKING:
    import onnx_ir as ir

_WEIGHT, _BIAS = 1, 2


def affine_to_conv(model: ir.Model) -> int:
    """Rewrite in place every chain of such arithmetic behind or before a convolution; returns how many nodes are gone.

    A factor before a convolution is taken in where all channels share it: one that differs may be what gives the
    channels one range. A shift is taken in where the convolution does not pad, as its zeros are not shifted.
    """
    convolutions = [node for node in model.graph if _is_plain(node)]
    return sum(_behind(model.graph, node) + _before(model.graph, node) for node in convolutions)


def _is_plain(node: ir.Node) -> bool:
    """A convolution of the network with a float32 weight of its own, and a constant bias or none."""
    if node.domain != "" or node.op_type != "Conv" or is_around(node):
        return False
    for value in node.inputs[1:]:
        array = constant(value)
        if value is not None and (array is None or array.dtype != np.float32 or len(list(value.uses())) != 1):
            return False
    return True


def _behind(graph: ir.Graph, conv: ir.Node) -> int:
    """Take in what is computed of the result alone."""
    weight, bias = _parameters(conv)
    factor, offset, done = np.ones(len(weight)), np.zeros(len(weight)), 0
    while (reader := single_consumer(conv.outputs[0])) is not None:
        step = None if is_around(reader) else step_of(reader, len(weight), weight.ndim)
        if step is None:
            break
        factor, offset, done = step.factor * factor, step.factor * offset + step.offset, done + 1
        _become(graph, reader.outputs[0], conv.outputs[0])
    if done:
        axes = (-1, *[1] * (weight.ndim - 1))
        _write(graph, conv, weight * factor.reshape(axes), bias * factor + offset)
    return done


def _before(graph: ir.Graph, conv: ir.Node) -> int:
    """Take in what is computed for this convolution alone."""
    done = 0
    while (step := _step_before(conv, conv.inputs[0])) is not None:
        if not step.offset.any():
            _multiply(graph, conv, step.factor[0])
            _bypass(graph, conv, step.value)
        elif not _pads(conv):
            weight, bias = _parameters(conv)
            _write(graph, conv, weight, bias + _shifted(conv, weight, step.offset))
            _bypass(graph, conv, step.value)
        elif (scale := _step_before(conv, step.value)) is not None and not scale.offset.any():
            # x * k + c is (x + c / k) * k.
            _multiply(graph, conv, scale.factor[0])
            _bypass(graph, conv, _plus(graph, conv, scale.value, step.offset / scale.factor))
        else:
            break
        done += 1
    return done


def _step_before(conv: ir.Node, value: ir.Value | None) -> ChannelStep | None:
    """What makes a value for one reader only; None where channels have factors of their own, or one is 0."""
    maker, weight = None if value is None else value.producer(), constant(conv.inputs[_WEIGHT])
    if value is None or maker is None or weight is None or is_around(maker) or single_consumer(value) is None:
        return None
    channels = weight.shape[1] * int(number(conv, "group", 1))
    step = step_of(maker, channels, weight.ndim)
    if step is None or not _has(step.value, channels, weight.ndim):
        return None
    return step if step.factor[0] and len(set(step.factor)) == 1 else None


def _has(value: ir.Value, channels: int, rank: int) -> bool:
    """Whether it has all channels itself: a grey picture gets them from the constants of three."""
    return value.shape is not None and value.shape.rank() == rank and value.shape[1] == channels


def _pads(conv: ir.Node) -> bool:
    pads, auto = conv.attributes.get("pads"), conv.attributes.get("auto_pad")
    automatic = auto is not None and auto.as_string() not in ("", "NOTSET", "VALID")
    return automatic or (pads is not None and any(pads.as_ints()))


def _parameters(conv: ir.Node) -> tuple[Wide, Wide]:
    """Weight and bias, in float64."""
    weight, bias = (constant(conv.inputs[i]) if len(conv.inputs) > i else None for i in (_WEIGHT, _BIAS))
    assert weight is not None
    return weight.astype(np.float64), np.zeros(len(weight)) if bias is None else bias.astype(np.float64)


def _shifted(conv: ir.Node, weight: Wide, offset: Wide) -> Wide:
    """What each output gains of an offset of each input channel."""
    groups = int(number(conv, "group", 1))
    taps = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1).sum(axis=3)
    gained: Wide = np.einsum("goi,gi->go", taps, offset.reshape(groups, -1)).reshape(-1)
    return gained


def _multiply(graph: ir.Graph, conv: ir.Node, factor: float) -> None:
    weight, bias = _parameters(conv)
    _write(graph, conv, weight * factor, bias)


def _write(graph: ir.Graph, conv: ir.Node, weight: Wide, bias: Wide) -> None:
    """Give the convolution these, and a bias only where it needs one."""
    import onnx_ir as ir

    old = list(conv.inputs)
    conv.resize_inputs(_BIAS + 1)
    for index, array in ((_WEIGHT, weight), (_BIAS, bias)):
        value = old[index] if len(old) > index else None
        if value is None and not array.any():
            conv.resize_inputs(index)
            continue
        if value is not None:  # nobody else reads it
            value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
            continue
        conv.replace_input_with(index, add_constant(graph, f"{conv.outputs[0].name}_bias", array.astype(np.float32)))


def _plus(graph: ir.Graph, conv: ir.Node, value: ir.Value, offset: Wide) -> ir.Value:
    """The value and an offset of each channel, before the convolution."""
    import onnx_ir as ir

    weight = constant(conv.inputs[_WEIGHT])
    assert weight is not None and value.name is not None
    shared = len(set(offset)) == 1
    array = offset[0] if shared else offset.reshape(-1, *[1] * (weight.ndim - 2))
    shift = add_constant(graph, f"{value.name}_shift", np.asarray(array, np.float32))
    node = ir.node("Add", [value, shift], name=f"{conv.name}/shift")
    node.outputs[0].name = free_name(f"{value.name}_shifted", value_names(graph))
    node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
    graph.insert_before(conv, node)
    return node.outputs[0]


def _bypass(graph: ir.Graph, conv: ir.Node, value: ir.Value) -> None:
    """Let the convolution read this, and remove what made its operand."""
    operand = conv.inputs[0]
    conv.replace_input_with(0, value)
    remove_unread(graph, operand)


def _become(graph: ir.Graph, result: ir.Value, value: ir.Value) -> None:
    """Let a value stand where a result of it was, under its name."""
    import onnx_ir as ir

    node, name = result.producer(), result.name
    assert node is not None
    read = [other for other in node.inputs if other is not None]
    ir.convenience.replace_nodes_and_values(graph, node, [node], [], [result], [value])
    value.name = name
    for other in read:
        drop_unused(graph, other)
