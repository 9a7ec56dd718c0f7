"""Operators that move values: each gives None where the value does not suit it."""

from __future__ import annotations

import math

import numpy as np
from onnx import helper

from .builder import Builder


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


def triangle(b: Builder, x: str) -> str | None:
    if b.opset < 14 or b.rank(x) < 3:
        return None
    return b.one(
        "Trilu", [x, *([b.constant(np.int64(b.pick(-1, 0, 1)))] if b.maybe() else [])], upper=b.pick(None, 0, 1)
    )


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
