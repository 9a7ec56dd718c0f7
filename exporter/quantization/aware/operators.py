"""ONNX operators in torch, differentiable: those that a captured network is made of.

Each is a function of a node's inputs, None where one is left out, and of its attributes, and gives a tensor or a tuple
of them. Definitions: the ONNX operator pages, opset 13 and later. An operator that is not here is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Inputs = Sequence[Any]
Attributes = Mapping[str, Any]
Operator = Callable[[Inputs, Attributes], Any]
OPERATORS: dict[str, Operator] = {}


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Register a function under the names of ONNX operators."""

    def register(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def _elementwise(name: str, function: Callable[..., Tensor]) -> None:
    OPERATORS[name] = lambda inputs, attributes: function(*inputs)


_ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "MatMul": torch.matmul,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Log": torch.log,
    "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal,
    "Neg": torch.neg,
    "Abs": torch.abs,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "HardSwish": functional.hardswish,
    "Mish": functional.mish,
    "Equal": torch.eq,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Not": torch.logical_not,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Where": torch.where,
    "IsNaN": torch.isnan,
}
for _name, _function in _ELEMENTWISE.items():
    _elementwise(_name, _function)


@operator("Identity", "Dropout")
def _identity(inputs: Inputs, attributes: Attributes) -> Any:
    return inputs[0]


@operator("Div")
def _div(inputs: Inputs, attributes: Attributes) -> Any:
    whole = not inputs[0].is_floating_point()
    return torch.div(inputs[0], inputs[1], rounding_mode="trunc" if whole else None)


@operator("Mod")
def _mod(inputs: Inputs, attributes: Attributes) -> Any:
    return (torch.fmod if attributes.get("fmod") else torch.remainder)(inputs[0], inputs[1])


@operator("Min", "Max", "Sum", "Mean")
def _several(inputs: Inputs, attributes: Attributes) -> Any:
    fold = {"Min": torch.minimum, "Max": torch.maximum}.get(attributes["op_type"], torch.add)
    total = inputs[0]
    for value in inputs[1:]:
        total = fold(total, value)
    return total / len(inputs) if attributes["op_type"] == "Mean" else total


@operator("Clip")
def _clip(inputs: Inputs, attributes: Attributes) -> Any:
    low, high = ((*inputs[1:], None, None))[:2]
    low = attributes.get("min") if low is None else low
    high = attributes.get("max") if high is None else high
    x = inputs[0] if low is None else torch.maximum(inputs[0], torch.as_tensor(low, dtype=inputs[0].dtype))
    return x if high is None else torch.minimum(x, torch.as_tensor(high, dtype=x.dtype))


@operator("LeakyRelu")
def _leaky(inputs: Inputs, attributes: Attributes) -> Any:
    return functional.leaky_relu(inputs[0], attributes.get("alpha", 0.01))


@operator("PRelu")
def _prelu(inputs: Inputs, attributes: Attributes) -> Any:
    return torch.where(inputs[0] < 0, inputs[0] * inputs[1], inputs[0])


@operator("Elu")
def _elu(inputs: Inputs, attributes: Attributes) -> Any:
    return functional.elu(inputs[0], attributes.get("alpha", 1.0))


@operator("Selu")
def _selu(inputs: Inputs, attributes: Attributes) -> Any:
    return functional.selu(inputs[0])


@operator("HardSigmoid")
def _hard_sigmoid(inputs: Inputs, attributes: Attributes) -> Any:
    return (inputs[0] * attributes.get("alpha", 0.2) + attributes.get("beta", 0.5)).clamp(0, 1)


@operator("Gelu")
def _gelu(inputs: Inputs, attributes: Attributes) -> Any:
    return functional.gelu(inputs[0], approximate=attributes.get("approximate", "none"))


@operator("Swish")
def _swish(inputs: Inputs, attributes: Attributes) -> Any:
    return inputs[0] * torch.sigmoid(attributes.get("alpha", 1.0) * inputs[0])


@operator("Softmax", "LogSoftmax")
def _softmax(inputs: Inputs, attributes: Attributes) -> Any:
    function = torch.softmax if attributes["op_type"] == "Softmax" else torch.log_softmax
    return function(inputs[0], dim=attributes.get("axis", -1))


@operator("Gemm")
def _gemm(inputs: Inputs, attributes: Attributes) -> Any:
    a = inputs[0].T if attributes.get("transA") else inputs[0]
    b = inputs[1].T if attributes.get("transB") else inputs[1]
    y = attributes.get("alpha", 1.0) * (a @ b)
    return y if len(inputs) < 3 or inputs[2] is None else y + attributes.get("beta", 1.0) * inputs[2]


@operator("Einsum")
def _einsum(inputs: Inputs, attributes: Attributes) -> Any:
    return torch.einsum(attributes["equation"], *inputs)


@operator("Conv")
def _conv(inputs: Inputs, attributes: Attributes) -> Any:
    x, weight = inputs[:2]
    function = (functional.conv1d, functional.conv2d, functional.conv3d)[weight.ndim - 3]
    bias = inputs[2] if len(inputs) > 2 else None
    x, padding = _padded(x, weight.shape[2:], attributes, 0.0)
    strides, dilations = (_each(attributes, name, weight.ndim - 2) for name in ("strides", "dilations"))
    return function(x, weight, bias, strides, padding, dilations, attributes.get("group", 1))


@operator("ConvTranspose")
def _conv_transpose(inputs: Inputs, attributes: Attributes) -> Any:
    x, weight = inputs[:2]
    axes = weight.ndim - 2
    pads = list(attributes.get("pads", [0] * 2 * axes))
    if pads[:axes] != pads[axes:] or "output_shape" in attributes:
        raise NotImplementedError("a ConvTranspose with pads of two sizes, or an output shape")
    function = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[axes - 1]
    bias = inputs[2] if len(inputs) > 2 else None
    more = list(attributes.get("output_padding", [0] * axes))
    strides, dilations = (_each(attributes, name, axes) for name in ("strides", "dilations"))
    return function(x, weight, bias, strides, pads[:axes], more, attributes.get("group", 1), dilations)


def _each(attributes: Attributes, name: str, axes: int) -> list[int]:
    return list(attributes.get(name, [1] * axes))


def _padded(x: Tensor, kernel: Sequence[int], attributes: Attributes, value: float) -> tuple[Tensor, list[int]]:
    """The values, padded where torch's own padding cannot say it, and what is left to torch."""
    axes = len(kernel)
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise NotImplementedError("padding by the input's size (auto_pad)")
    pads = list(attributes.get("pads", [0] * 2 * axes))
    if pads[:axes] == pads[axes:]:
        return x, pads[:axes]
    sides = [side for axis in reversed(range(axes)) for side in (pads[axis], pads[axes + axis])]
    return functional.pad(x, sides, value=value), [0] * axes


@operator("MaxPool")
def _max_pool(inputs: Inputs, attributes: Attributes) -> Any:
    kernel = list(attributes["kernel_shape"])
    x, padding = _padded(inputs[0], kernel, attributes, float("-inf"))
    if any(2 * pad > size for pad, size in zip(padding, kernel, strict=True)):
        x, padding = (
            functional.pad(x, [p for pad in reversed(padding) for p in (pad, pad)], value=float("-inf")),
            [0] * len(kernel),
        )
    function = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(kernel) - 1]
    strides, dilations = (_each(attributes, name, len(kernel)) for name in ("strides", "dilations"))
    return function(x, kernel, strides, padding, dilations, bool(attributes.get("ceil_mode", 0)))


@operator("AveragePool")
def _average_pool(inputs: Inputs, attributes: Attributes) -> Any:
    kernel = list(attributes["kernel_shape"])
    counted = bool(attributes.get("count_include_pad", 0))
    x, padding = _padded(inputs[0], kernel, attributes, 0.0)
    if x is not inputs[0] and not counted:
        raise NotImplementedError("an AveragePool with pads of two sizes")
    if any(each != 1 for each in _each(attributes, "dilations", len(kernel))):
        raise NotImplementedError("an AveragePool with dilations")
    function: Any = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(kernel) - 1]
    strides = _each(attributes, "strides", len(kernel))
    return function(x, kernel, strides, padding, bool(attributes.get("ceil_mode", 0)), counted)


@operator("GlobalAveragePool")
def _global_average_pool(inputs: Inputs, attributes: Attributes) -> Any:
    return inputs[0].mean(dim=list(range(2, inputs[0].ndim)), keepdim=True)


@operator("GlobalMaxPool")
def _global_max_pool(inputs: Inputs, attributes: Attributes) -> Any:
    return inputs[0].amax(dim=list(range(2, inputs[0].ndim)), keepdim=True)


@operator("BatchNormalization")
def _batch_norm(inputs: Inputs, attributes: Attributes) -> Any:
    x, scale, bias, mean, variance = inputs[:5]
    return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, attributes.get("epsilon", 1e-5))


@operator("InstanceNormalization")
def _instance_norm(inputs: Inputs, attributes: Attributes) -> Any:
    return functional.instance_norm(inputs[0], weight=inputs[1], bias=inputs[2], eps=attributes.get("epsilon", 1e-5))


@operator("GroupNormalization")
def _group_norm(inputs: Inputs, attributes: Attributes) -> Any:
    if inputs[1].numel() != inputs[0].shape[1]:
        raise NotImplementedError("a GroupNormalization with a scale a group")
    return functional.group_norm(
        inputs[0], attributes["num_groups"], inputs[1], inputs[2], attributes.get("epsilon", 1e-5)
    )


@operator("LayerNormalization")
def _layer_norm(inputs: Inputs, attributes: Attributes) -> Any:
    x = inputs[0]
    shape = x.shape[attributes.get("axis", -1) % x.ndim :]
    bias = inputs[2] if len(inputs) > 2 else None
    y = functional.layer_norm(x, shape, None, None, attributes.get("epsilon", 1e-5)) * inputs[1]
    return y if bias is None else y + bias


@operator("RMSNormalization")
def _rms_norm(inputs: Inputs, attributes: Attributes) -> Any:
    x = inputs[0]
    axes = list(range(attributes.get("axis", -1) % x.ndim, x.ndim))
    return x * torch.rsqrt(x.square().mean(dim=axes, keepdim=True) + attributes.get("epsilon", 1e-5)) * inputs[1]


@operator("LpNormalization")
def _lp_norm(inputs: Inputs, attributes: Attributes) -> Any:
    return functional.normalize(inputs[0], p=attributes.get("p", 2), dim=attributes.get("axis", -1))
