"""Where a weight of an ONNX file can lie: every way is the same array to whoever reads it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .builder import CONTRIB, Array, Builder


def weight(b: Builder, array: Array, stem: str = "w") -> str:
    """The array as a value of the graph, in one of the ways; some are shared with a weight before."""
    for name, other in b.weights:
        if other.shape == array.shape and b.maybe(0.3):
            return name
    ways = _WAYS if array.dtype == np.float32 and array.ndim else _WAYS[:2]
    made = None
    while made is None:
        made = b.pick(*ways, *[_initializer] * 5)(b, array, stem)
    b.open = [name for name in b.open if name != made]
    b.weights.append((made, array))
    return made


def _initializer(b: Builder, array: Array, stem: str) -> str | None:
    return b.constant(array, stem)


def _node(b: Builder, array: Array, stem: str) -> str | None:
    return b.one("Constant", [], value=numpy_helper.from_array(array, b.name(stem)))


def _overridable(b: Builder, array: Array, stem: str) -> str | None:
    name = b.constant(array, stem)
    b.overridable.append(name)
    return name


def _floats(b: Builder, array: Array, stem: str) -> str | None:
    if b.opset < 12 or array.size > 200:
        return None
    flat = b.one("Constant", [], value_floats=[float(number) for number in array.ravel()])
    return flat and b.one("Reshape", [flat, b.ints(*array.shape)])


def _sparse(b: Builder, array: Array, stem: str) -> str | None:
    if b.opset < 11 or array.ndim > 2:
        return None
    places = np.flatnonzero(array).astype(np.int64)
    held = numpy_helper.from_array(array.ravel()[places], b.name(stem))
    where = numpy_helper.from_array(places, "")
    return b.one("Constant", [], sparse_value=helper.make_sparse_tensor(held, where, array.shape))


def _transposed(b: Builder, array: Array, stem: str) -> str | None:
    order = [int(axis) for axis in b.chance.permutation(array.ndim)]
    return b.one("Transpose", [b.constant(np.ascontiguousarray(array.transpose(np.argsort(order))), stem)], perm=order)


def _reshaped(b: Builder, array: Array, stem: str) -> str | None:
    return b.one("Reshape", [b.constant(array.reshape(-1), stem), b.ints(*array.shape)])


def _half(b: Builder, array: Array, stem: str) -> str | None:
    return b.one("Cast", [b.constant(array.astype(np.float16), stem)], to=TensorProto.FLOAT)


def _double(b: Builder, array: Array, stem: str) -> str | None:
    return b.one("Cast", [b.constant(array.astype(np.float64), stem)], to=TensorProto.FLOAT)


def _scaled(b: Builder, array: Array, stem: str) -> str | None:
    return b.one("Mul", [b.constant(array / 2, stem), b.constant(np.float32(2))])


def _normed(b: Builder, array: Array, stem: str) -> str | None:
    """As weight norm is written: a direction over its length, times a gain."""
    held = b.constant(array, stem)
    length = b.one("ReduceL2", [held], axes=[array.ndim - 1], keepdims=1) if b.opset < 18 else None
    unit = length and b.one("Div", [held, length])
    return unit and b.one("Mul", [unit, b.constant(np.abs(b.normal(*array.shape[:-1], 1)) + np.float32(0.5))])


def _moved(b: Builder, array: Array, stem: str) -> str | None:
    return b.one("Add", [b.constant(array - np.float32(0.5), stem), b.constant(np.float32(0.5))])


def _joined(b: Builder, array: Array, stem: str) -> str | None:
    if array.shape[0] < 2:
        return None
    return b.one("Concat", [b.constant(array[:1], stem), b.constant(array[1:], stem)], axis=0)


def _stored(b: Builder, array: Array, stem: str) -> str | None:
    """Integers behind a DequantizeLinear."""
    if b.opset < 10:
        return None
    scale = np.float32(np.abs(array).max() / 127 or 1)
    whole = b.constant(np.round(array / scale).astype(np.int8), stem)
    return b.one("DequantizeLinear", [whole, b.constant(scale), b.constant(np.int8(0))])


def _filled(b: Builder, array: Array, stem: str) -> str | None:
    """All one number: the array itself is not kept."""
    if b.opset < 9 or array.ndim > 1:
        return None
    return b.one("ConstantOfShape", [b.ints(*array.shape)], value=helper.make_tensor("", 1, [1], [0.25]))


def _gathered(b: Builder, array: Array, stem: str) -> str | None:
    order = [int(row) for row in b.chance.permutation(array.shape[0])]
    back = [int(row) for row in np.argsort(order)]
    return b.one("Gather", [b.constant(array[order], stem), b.ints(*back)], axis=0)


def _whole(b: Builder, array: Array, stem: str) -> str | None:
    """Cast from whole numbers and scaled: packed by hand."""
    scale = np.float32(np.abs(array).max() / 120 or 1)
    cast = b.one("Cast", [b.constant(np.round(array / scale).astype(np.int32), stem)], to=TensorProto.FLOAT)
    return cast and b.one("Mul", [cast, b.constant(scale)])


def _contributed(b: Builder, array: Array, stem: str) -> str | None:
    """By onnxruntime's own DequantizeLinear."""
    scale = np.float32(np.abs(array).max() / 127 or 1)
    whole = b.constant(np.round(array / scale).astype(np.int8), stem)
    return b.one("DequantizeLinear", [whole, b.constant(scale), b.constant(np.int8(0))], domain=CONTRIB)


def _within(b: Builder, array: Array, stem: str) -> str | None:
    """A part of a larger table."""
    table = np.concatenate([array, b.normal(2, *array.shape[1:])]) if array.shape[0] else array
    if b.opset < 10:
        return b.one("Slice", [b.constant(table, stem)], starts=[0], ends=[-2], axes=[0])
    return b.one("Slice", [b.constant(table, stem), b.ints(0), b.ints(-2), b.ints(0)])


_WAYS: tuple[Callable[[Builder, Array, str], str | None], ...] = (
    _initializer, _node, _overridable, _floats, _sparse, _transposed, _reshaped, _half, _double, _scaled, _normed,
    _moved, _joined, _stored, _filled, _gathered, _whole, _contributed, _within,
)  # fmt: skip
