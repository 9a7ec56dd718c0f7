"""Operators without weights, in the forms that their opsets have; each gives None where the value does not suit it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from .builder import Builder
from .moving import (
    expand,
    gather,
    pad,
    reshape,
    resize,
    scatter,
    sequence,
    slices,
    space,
    split,
    squeeze,
    topk,
    transpose,
    triangle,
)

_PLAIN = (
    "Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Exp", "Softplus", "Softsign", "Elu", "Selu", "LeakyRelu", "HardSigmoid",
    "ThresholdedRelu", "Sin", "Cos", "Atan", "Sqrt", "Log", "Reciprocal", "Floor", "Ceil", "Identity", "Sign", "Erf",
    "Sinh", "Asinh", "Round", "Celu", "HardSwish", "Mish", "Gelu", "Swish", "Shrink",
)  # fmt: skip


def activation(b: Builder, x: str) -> str | None:
    name = b.pick(*_PLAIN)
    if name in ("Sqrt", "Log", "Reciprocal"):
        x = b.one("Add", [b.one("Abs", [x]) or x, b.constant(np.float32(b.pick(1e-3, 0.5)))]) or x
    more = {"approximate": b.pick("none", "tanh")} if name == "Gelu" else {}
    return b.one(name, [x], alpha=b.pick(None, 0.3) if name in ("Elu", "LeakyRelu", "Celu") else None, **more)


def clip(b: Builder, x: str) -> str | None:
    low, high = b.pick((-1.0, 1.0), (0.0, 6.0), (None, 0.5), (0.1, None), (None, None))
    if b.opset < 11:
        return b.one("Clip", [x], min=low, max=high)
    ends = ["" if end is None else b.constant(np.float32(end)) for end in (low, high)]
    while ends and not ends[-1]:
        ends = ends[:-1]
    return b.one("Clip", [x, *ends])


def reduce(b: Builder, x: str) -> str | None:
    """Over axes given as an attribute, as an input, or not at all."""
    name = b.pick("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceLogSumExp",
                  "ReduceSumSquare", "ReduceProd", "ReduceLogSum")  # fmt: skip
    able = [axis for axis in range(b.rank(x)) if axis != b.follows[x]]
    if len(able) < 2 and b.rank(x) < 3:
        return None
    axes = sorted(int(axis) for axis in b.chance.choice(able, size=min(len(able), int(b.pick(1, 1, 2))), replace=False))
    axes = [axis - b.rank(x) for axis in axes] if b.opset >= 11 and b.maybe() else axes
    keep = b.pick(None, 0, 1)
    if b.opset >= (13 if name == "ReduceSum" else 18):
        if b.maybe(0.1):
            return b.one(name, [x], keepdims=keep, noop_with_empty_axes=1)
        return b.one(name, [x, b.ints(*axes)], keepdims=keep)
    return b.one(name, [x], axes=axes, keepdims=keep)


def softmax(b: Builder, x: str) -> str | None:
    """Before opset 13 of all axes behind one together."""
    return b.one(b.pick("Softmax", "LogSoftmax", "Softmax", "Hardmax"), [x], axis=b.pick(None, b.axis(x)))


def pool(b: Builder, x: str) -> str | None:
    spatial = b.rank(x) - 2
    if not 1 <= spatial <= 3:
        return None
    name = b.pick("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
    if name.startswith("Global"):
        return b.one(name, [x])
    kernel = [int(b.pick(2, 3)) for _ in range(spatial)]
    given: dict[str, object] = {"kernel_shape": kernel, "strides": b.pick(None, [2] * spatial)}
    pads = b.pick(None, [1] * (2 * spatial), [1] * spatial + [0] * spatial)
    given |= {"pads": pads} if b.maybe() else {"auto_pad": b.pick("SAME_UPPER", "SAME_LOWER", "VALID")}
    if b.opset >= 10 and name != "LpPool":
        given |= {"ceil_mode": b.pick(None, 1)}
    if (name == "MaxPool" and b.opset >= 10) or b.opset >= 19:
        given |= {"dilations": b.pick(None, None, [2] * spatial)}
    if name == "AveragePool":
        given |= {"count_include_pad": b.pick(None, 1)}
    return next(iter(b.add(name, [x], 2 if name == "MaxPool" and b.opset >= 8 and b.maybe(0.2) else 1, **given)), None)


def dropout(b: Builder, x: str) -> str | None:
    if b.opset < 12:
        return b.one("Dropout", [x], ratio=b.pick(None, 0.3))
    return b.one("Dropout", [x, *b.pick([], [b.constant(np.float32(0.4))],
                                        [b.constant(np.float32(0.4)), b.constant(np.bool_(False))])])  # fmt: skip


def switch(b: Builder, x: str) -> str | None:
    """Where, by a comparison, with constants or another value."""
    if b.opset < 9:
        return None
    is_so = b.one(b.pick("Greater", "Less"), [x, b.constant(np.float32(0.1))])
    if is_so and b.maybe(0.3):
        is_so = b.one("Not", [is_so])
    return is_so and b.one("Where", [is_so, x, b.constant(np.float32(b.pick(0, -1)))])


def cast(b: Builder, x: str) -> str | None:
    """To another type and back."""
    other = b.pick(TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT8, TensorProto.BOOL)
    more = {"saturate": 1} if b.opset >= 19 and b.maybe() else {}
    if other == TensorProto.INT8:  # what lies beyond its range may become anything, by ONNX
        low, high = -128.0, 127.0
        ends = {"min": low, "max": high} if b.opset < 11 else {}
        kept = b.one("Clip", [x] if ends else [x, *(b.constant(np.float32(end)) for end in (low, high))], **ends)
        if kept is None:
            return None
        x = kept
    there = b.one("Cast", [x], to=other, **more)
    return there and b.one("Cast", [there], to=TensorProto.FLOAT)


def one_hot(b: Builder, x: str) -> str | None:
    if b.opset < 9 or b.rank(x) < 2 or b.follows[x] == b.rank(x) - 1:
        return None
    size = b.shape(x)[-1]
    best = b.one("ArgMax", [x], axis=b.pick(-1, b.rank(x) - 1) if b.opset >= 11 else b.rank(x) - 1, keepdims=0)
    ends = b.constant(np.asarray([0, 1], np.float32))
    hot = best and b.one("OneHot", [best, b.constant(np.asarray([size], np.int64)), ends], axis=-1)
    return hot and b.one("Add", [x, hot])


def cumulated(b: Builder, x: str) -> str | None:
    if b.opset < 11:
        return None
    axis = b.axis(x)
    return b.one("CumSum", [x, b.constant(np.int64(axis))], exclusive=b.pick(None, 1), reverse=b.pick(None, 1))


def spectrum(b: Builder, x: str) -> str | None:
    """Magnitudes of a DFT or an STFT."""
    if b.opset < 17 or b.rank(x) != 2 or b.follows[x] != 0 or b.shape(x)[1] < 6:
        return None
    wide = b.one("Unsqueeze", [x, b.ints(2)])
    if wide is None:
        return None
    if b.maybe(0.3):
        window = b.constant(np.hanning(4).astype(np.float32))
        found = b.one("STFT", [wide, b.constant(np.int64(2)), window], onesided=1)
    elif b.opset >= 20:
        found = b.one("DFT", [wide, "", b.constant(np.int64(b.pick(1, -2)))], onesided=b.pick(0, 1))
    else:
        found = b.one("DFT", [wide], axis=1, onesided=b.pick(0, 1))
    if found is None:
        return None
    if b.opset >= 18:
        return b.one("ReduceL2", [found, b.ints(-1)], keepdims=0)
    return b.one("ReduceL2", [found], axes=[-1], keepdims=0)


def joined(b: Builder, x: str) -> str | None:
    """With another value of the graph of the same shape, or its mean over an axis, which broadcasts."""
    others = [
        n for n in b.open if n != x and b.shape(n) == b.shape(x) and b.is_float(n) and b.follows[n] == b.follows[x]
    ]
    if others and b.maybe(0.8):
        other = b.pick(*others)
        operator = b.pick("Add", "Mul", "Sub", "Sum", "Max", "Mean", "Concat")
        if operator == "Concat":
            return b.one("Concat", [x, other], axis=b.rank(x) - 1)
        return b.one(operator, [x, other])
    axis = b.axis(x)
    mean = b.one("ReduceMean", [x], axes=[axis], keepdims=1) if b.opset < 18 else b.one("ReduceMean", [x, b.ints(axis)])
    return mean and b.one(b.pick("Sub", "Mul"), [x, mean])


def compared(b: Builder, x: str) -> str | None:
    """Logic whose result scales the value."""
    one = b.one("Greater", [x, b.constant(np.float32(0))])
    two = b.one("Less", [x, b.constant(np.float32(1))])
    both = one and two and b.one(b.pick("And", "Or", "Xor"), [one, two])
    number = both and b.one("Cast", [both], to=TensorProto.FLOAT)
    return number and b.one("Mul", [x, b.one("Add", [number, b.constant(np.float32(0.5))]) or number])


def power(b: Builder, x: str) -> str | None:
    exponent = b.constant(b.pick(np.float32(2), np.float32(3), *([np.int64(2), np.int32(2)] if b.opset >= 12 else [])))
    return b.one("Pow", [x, exponent])


def modulo(b: Builder, x: str) -> str | None:
    return b.one("Mod", [x, b.constant(np.float32(1.5))], fmod=1) if b.opset >= 10 else None


def sampled(b: Builder, x: str) -> str | None:
    """GridSample at places that are constants, or a MaxUnpool of a MaxPool."""
    if b.rank(x) != 4 or b.follows[x] != 0:
        return None
    if b.opset >= 9 and b.maybe():
        found = b.add("MaxPool", [x], 2, kernel_shape=[2, 2], strides=[2, 2])
        return b.one("MaxUnpool", found, kernel_shape=[2, 2], strides=[2, 2]) if found else None
    if b.opset < 16:
        return None
    grid = b.one(
        "Expand",
        [
            b.constant(np.clip(b.normal(1, 4, 4, 2), -1, 1)),
            b.one(
                "Concat",
                [b.one("Gather", [b.one("Shape", [x]) or "", b.ints(0)], axis=0) or "", b.ints(4, 4, 2)],
                axis=0,
            )
            or "",
        ],
    )
    mode = b.pick("bilinear", "nearest") if b.opset < 20 else b.pick("linear", "nearest")
    return grid and b.one("GridSample", [x, grid], mode=mode, padding_mode=b.pick("zeros", "border", "reflection"))


OPERATORS: tuple[Callable[[Builder, str], str | None], ...] = (
    activation, activation, activation, clip, reduce, reduce, softmax, pool, pool, transpose, reshape, reshape,
    squeeze, slices, split, pad, resize, dropout, gather, scatter, topk, switch, cast, one_hot, triangle, cumulated,
    expand, space, spectrum, joined, joined, compared, power, modulo, sampled, sequence,
)  # fmt: skip
