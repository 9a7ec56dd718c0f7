"""Bytes of weights by layer of an ONNX file, read without the onnx package, which a device does not have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ._onnxfile import _all, _mapped, _not_onnx, _text, _varint

# message.field: number, as in onnx/onnx.proto
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER = 7, 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_TYPE, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_TENSOR = 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME = 1, 2, 8
# Bits of an element by TensorProto.DataType; strings are not weights.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16}
_BITS |= {17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSizes:
    """Bytes of all weights, and of each layer's own, the largest first.

    A weight behind Dequantize- and other nodes of constants belongs to the layer that they feed; one that several
    layers share belongs to the first.
    """

    total: int
    layers: dict[str, int]


def weight_sizes(path: Path) -> WeightSizes:
    """Sizes of the weights of the main graph, embedded or external.

    Raises:
        InputError: the file is not an ONNX model.
    """
    model = _mapped(path)
    try:
        return _sizes(next(_all(model, _MODEL_GRAPH), memoryview(b"")))
    except (IndexError, ValueError) as error:
        raise _not_onnx(path) from error
    except KeyError as error:
        raise InputError(f"{path.name} holds tensors of the type {error.args[0]}, which is not known here.") from error


def _sizes(graph: memoryview) -> WeightSizes:
    held = {_text(tensor, _TENSOR_NAME): _bytes(tensor) for tensor in _all(graph, _GRAPH_INITIALIZER)}
    total = sum(held.values())
    layers: dict[str, int] = {}
    for node in _all(graph, _GRAPH_NODE):
        inputs, outputs = ([str(name, "utf-8") for name in _all(node, field)] for field in (_NODE_INPUT, _NODE_OUTPUT))
        own = sum(_bytes(tensor) for tensor in _constants(node))
        total += own
        constant = all(name in held for name in inputs if name)
        taken = [name for name in dict.fromkeys(inputs) if name in held]
        found = own + sum(held[name] for name in taken)
        held |= dict.fromkeys(taken, 0)  # counted once
        if constant:
            held |= dict.fromkeys(outputs, 0) | {outputs[0]: found}
        elif found:
            label = _text(node, _NODE_NAME) or f"{_text(node, _NODE_TYPE)} -> {', '.join(outputs)}"
            layers[label] = layers.get(label, 0) + found
    return WeightSizes(total=total, layers=dict(sorted(layers.items(), key=lambda item: -item[1])))


def _constants(node: memoryview) -> Iterator[memoryview]:
    if _text(node, _NODE_TYPE) == "Constant":
        for attribute in _all(node, _NODE_ATTRIBUTE):
            yield from _all(attribute, _ATTRIBUTE_TENSOR)


def _bytes(tensor: memoryview) -> int:
    kind = next(iter(_numbers(tensor, _TENSOR_TYPE)), 0)
    if kind == 8:  # strings
        return 0
    return -(-math.prod(_numbers(tensor, _TENSOR_DIMS)) * _BITS[kind] // 8)


def _numbers(message: memoryview, field: int) -> Iterator[int]:
    """The values of an integer field, packed or not."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            if key >> 3 == field:
                yield value
        elif kind == 2:
            size, at = _varint(message, at)
            inside, end = at, at + size
            while key >> 3 == field and inside < end:
                value, inside = _varint(message, inside)
                yield value
            at = end
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
