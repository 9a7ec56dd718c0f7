"""Operators without weights, in the forms that their opsets have; each gives None where the value does not suit it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from .builder import Builder

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


def transpose(b: Builder, x: str) -> str | None:
    if b.rank(x) < 2:
        return None
    order = list(range(b.rank(x)))
    if b.maybe(0.7) and b.follows[x] == 0:
        order[1:] = [int(axis) for axis in b.chance.permutation(order[1:])]
    else:
        order = [int(axis) for axis in b.chance.permutation(order)]
    return b.one("Transpose", [x], perm=order if b.maybe(0.9) else None)


def reshape(b: Builder, x: str) -> str | None:
    """Flatten, or Reshape with 0, -1, allowzero or computed sizes; a batch that is not first goes there."""
    at = b.follows[x]
    if at:
        return b.one("Transpose", [x], perm=[at, *[axis for axis in range(b.rank(x)) if axis != at]])
    size = math.prod(b.shape(x)[1:])
    kind = b.pick("flatten", "zero", "minus", "computed", "split", "allowzero")
    if kind == "flatten":
        return b.one("Flatten", [x], axis=b.pick(None, 1))
    if kind == "computed":
        shape = b.one("Shape", [x])
        if b.opset >= 15 and b.maybe():
            first = b.one("Shape", [x], start=0, end=1)
        else:
            first = shape and b.one("Gather", [shape, b.ints(0)], axis=0)
        sizes = first and b.one("Concat", [first, b.ints(-1)], axis=0)
        return sizes and b.one("Reshape", [x, sizes])
    two = next((number for number in (2, 3, 4) if size % number == 0), 1)
    sizes = {"zero": (0, -1), "minus": (-1, size), "split": (-1, two, size // two), "allowzero": (-1, size)}[kind]
    more = {"allowzero": 1} if kind == "allowzero" and b.opset >= 14 else {}
    return b.one("Reshape", [x, b.ints(*sizes)], **more)


def squeeze(b: Builder, x: str) -> str | None:
    """Unsqueeze and perhaps Squeeze, axes as an attribute or an input."""
    axis = int(b.pick(1, b.rank(x)))
    if b.rank(x) > 4:
        return None
    as_input = b.opset >= 13

    def form(name: str, value: str) -> str | None:
        return b.one(name, [value, b.ints(axis)]) if as_input else b.one(name, [value], axes=[axis])

    wide = form("Unsqueeze", x)
    if wide is None or b.maybe(0.3):
        return wide
    if b.maybe(0.2) and 1 not in b.shape(x):
        return b.one("Squeeze", [wide])
    return form("Squeeze", wide)


def slices(b: Builder, x: str) -> str | None:
    axis = b.axis(x)
    size = b.shape(x)[axis]
    if size < 3 or axis == b.follows[x]:
        return None
    start, end, step = b.pick((1, size, 1), (0, -1, 1), (0, 2**31, 2), (-1, -size - 1, -1), (1, 2**63 - 1, 1))
    if b.opset < 10:
        return b.one("Slice", [x], starts=[start], ends=[min(end, 2**31)], axes=[axis]) if step == 1 else None
    inputs = [x, b.ints(start), b.ints(end), b.ints(axis - b.rank(x) if b.maybe() else axis)]
    return b.one("Slice", [*inputs, b.ints(step)] if step != 1 or b.maybe() else inputs)


def split(b: Builder, x: str) -> str | None:
    axis = b.axis(x)
    size = b.shape(x)[axis]
    if size < 2 or axis == b.follows[x]:
        return None
    sizes = [size // 2, size - size // 2]
    if b.opset >= 18 and b.maybe(0.3):
        parts = b.add("Split", [x], 2, axis=axis, num_outputs=2)
    elif b.opset >= 13:
        parts = b.add("Split", [x, b.ints(*sizes)], 2, axis=axis)
    else:
        parts = b.add("Split", [x], 2, axis=axis, split=sizes)
    if len(parts) < 2:
        return None
    operator = "Mul" if b.shape(parts[0]) == b.shape(parts[1]) and b.maybe() else "Concat"
    if operator == "Concat":
        return b.one("Concat", parts[:: b.pick(1, -1)], axis=axis - b.rank(x) if b.opset >= 11 else axis)
    return b.one("Mul", [parts[0], b.one("Sigmoid", [parts[1]]) or parts[1]])


def pad(b: Builder, x: str) -> str | None:
    if b.rank(x) < 2:
        return None
    pads = [0] * (2 * b.rank(x))
    pads[b.rank(x) - 1], pads[-1] = 1, int(b.pick(0, 1, 2))
    mode = b.pick("constant", "reflect", "edge", *(["wrap"] if b.opset >= 19 else []))
    value = b.pick(None, 0.0, -1.5)
    if b.opset < 11:
        return b.one("Pad", [x], pads=pads, mode=mode, value=value)
    if b.opset >= 18 and b.maybe():
        return b.one("Pad", [x, b.ints(pads[b.rank(x) - 1], pads[-1]), "", b.ints(-1)], mode=mode)
    more = [b.constant(np.float32(value))] if value is not None and mode == "constant" else []
    return b.one("Pad", [x, b.ints(*pads), *more], mode=mode)


def resize(b: Builder, x: str) -> str | None:
    if b.rank(x) not in (3, 4) or b.follows[x] != 0:
        return None
    spatial = b.rank(x) - 2
    scales = b.constant(np.asarray([1, 1, *[b.pick(2, 2, 1.5, 0.5) for _ in range(spatial)]], np.float32))
    mode = b.pick("nearest", "linear", *(["cubic"] if b.opset >= 11 and spatial == 2 else []))
    if b.opset < 9:
        return b.one("Upsample", [x], scales=[1.0, 1.0] + [2.0] * spatial, mode=mode)
    if b.opset < 10:
        return b.one("Upsample", [x, scales], mode=mode)
    if b.opset < 11:
        return b.one("Resize", [x, scales], mode=mode)
    ways = [
        "half_pixel",
        "asymmetric",
        "align_corners",
        "pytorch_half_pixel",
        *(["half_pixel_symmetric"] * (b.opset > 18)),
    ]
    given = {"mode": mode, "coordinate_transformation_mode": b.pick(*ways)}
    if mode == "nearest":
        given["nearest_mode"] = b.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if b.opset >= 18 and b.maybe(0.3):
        given["antialias"] = int(mode != "nearest")
    region = "" if b.opset >= 13 else b.constant(np.zeros(0, np.float32))
    if b.maybe():
        return b.one("Resize", [x, region, scales], **given)
    shape = b.one("Shape", [x])
    batch = shape and b.one("Gather", [shape, b.ints(0)], axis=0)
    sizes = batch and b.one("Concat", [batch, b.ints(b.shape(x)[1], *[7] * spatial)], axis=0)
    empty = "" if b.opset >= 13 else b.constant(np.zeros(0, np.float32))
    return sizes and b.one("Resize", [x, region, empty, sizes], **given)


def dropout(b: Builder, x: str) -> str | None:
    if b.opset < 12:
        return b.one("Dropout", [x], ratio=b.pick(None, 0.3))
    return b.one("Dropout", [x, *b.pick([], [b.constant(np.float32(0.4))],
                                        [b.constant(np.float32(0.4)), b.constant(np.bool_(False))])])  # fmt: skip


def gather(b: Builder, x: str) -> str | None:
    axis = b.axis(x)
    if b.shape(x)[axis] < 3 or axis == b.follows[x]:
        return None
    kind = b.pick("Gather", "scalar", "GatherElements", "GatherND", "negative")
    if kind == "GatherElements" and b.opset >= 11 and axis != 0 and b.follows[x] == 0:
        turned = b.one("ArgMax", [x], axis=axis, keepdims=1)
        return turned and b.one("GatherElements", [x, turned], axis=axis)
    if kind == "GatherND" and b.opset >= 12 and b.follows[x] is None:
        return b.one("GatherND", [x, b.constant(np.asarray([[0], [1]], np.int64))])
    if kind == "scalar" and b.rank(x) > 2:
        return b.one("Gather", [x, b.constant(np.int64(b.pick(0, 1)))], axis=axis)
    rows = (0, 2, 1, 1) if kind != "negative" or b.opset < 11 else (-1, 0)
    kind = np.int32 if b.maybe(0.3) else np.int64
    return b.one("Gather", [x, b.constant(np.asarray(rows, kind))], axis=axis)


def scatter(b: Builder, x: str) -> str | None:
    """Other values at some places of the last axis."""
    if b.opset < 11 or b.rank(x) != 2 or b.follows[x] != 0 or b.shape(x)[1] < 3:
        return None
    best = b.one("ArgMax", [x], axis=1, keepdims=1)
    smallest = best and b.one("ReduceMin", [x, *([b.ints(1)] * (b.opset >= 18))], keepdims=1,
                              axes=[1] if b.opset < 18 else None)  # fmt: skip
    more = {"reduction": b.pick("none", "add", "mul", "max")} if b.opset >= 18 else {}
    return smallest and b.one("ScatterElements", [x, str(best), smallest], axis=b.pick(1, -1), **more)


def topk(b: Builder, x: str) -> str | None:
    axis = b.axis(x)
    if b.shape(x)[axis] < 3 or axis == b.follows[x]:
        return None
    if b.opset < 10:
        found = b.add("TopK", [x], 2, axis=axis, k=2)
    else:
        more = {"largest": b.pick(None, 0), "sorted": 1} if b.opset >= 11 else {}
        found = b.add("TopK", [x, b.ints(2)], 2, axis=axis, **more)
    return found[0] if found else None


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


def triangle(b: Builder, x: str) -> str | None:
    if b.opset < 14 or b.rank(x) < 3:
        return None
    return b.one(
        "Trilu", [x, *([b.constant(np.int64(b.pick(-1, 0, 1)))] if b.maybe() else [])], upper=b.pick(None, 0, 1)
    )


def cumulated(b: Builder, x: str) -> str | None:
    if b.opset < 11:
        return None
    axis = b.axis(x)
    return b.one("CumSum", [x, b.constant(np.int64(axis))], exclusive=b.pick(None, 1), reverse=b.pick(None, 1))


def expand(b: Builder, x: str) -> str | None:
    if b.opset < 8 or b.rank(x) > 4:
        return None
    if b.opset >= 13 and b.maybe():
        wide = b.one("Unsqueeze", [x, b.ints(1)])
        return wide and b.one("Expand", [wide, b.ints(*[1, 2, *[1] * (b.rank(x) - 1)])])
    return b.one("Tile", [x, b.ints(*[1] * (b.rank(x) - 1), 2)]) if b.follows[x] != b.rank(x) - 1 else None


def space(b: Builder, x: str) -> str | None:
    if b.rank(x) != 4:
        return None
    if b.shape(x)[2] % 2 == 0 and b.shape(x)[3] % 2 == 0 and b.maybe():
        return b.one("SpaceToDepth", [x], blocksize=2)
    mode = {"mode": b.pick("DCR", "CRD")} if b.opset >= 11 else {}
    return b.one("DepthToSpace", [x], blocksize=2, **mode) if b.shape(x)[1] % 4 == 0 else None


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


def sequence(b: Builder, x: str) -> str | None:
    """Split into a sequence and put together again."""
    axis = b.axis(x)
    if b.opset < 11 or axis == b.follows[x] or b.shape(x)[axis] < 2:
        return None
    held, result = b.name("seq"), b.name("joined")
    size = b.constant(np.int64(1))
    nodes = [helper.make_node("SplitToSequence", [x, size], [held], axis=axis),
             helper.make_node("ConcatFromSequence", [held], [result], axis=axis)]  # fmt: skip
    return next(iter(b.join(nodes, [result])), None)


OPERATORS: tuple[Callable[[Builder, str], str | None], ...] = (
    activation, activation, activation, clip, reduce, reduce, softmax, pool, pool, transpose, reshape, reshape,
    squeeze, slices, split, pad, resize, dropout, gather, scatter, topk, switch, cast, one_hot, triangle, cumulated,
    expand, space, spectrum, joined, joined, compared, power, modulo, sampled, sequence,
)  # fmt: skip
