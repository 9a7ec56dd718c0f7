"""Operators that few files have: signals, boxes, windows, sequences, bits, positions and what the last opsets added."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from .builder import FLOAT, Builder
from .places import weight


def angles(b: Builder, x: str) -> str | None:
    """Functions that are defined between -1 and 1, or that few models use."""
    name = b.pick("Acos", "Asin", "Atanh", "Acosh", "Cosh", "Tan", "IsNaN", "IsInf")
    inner = b.one("Tanh", [x])
    scaled = inner and b.one("Mul", [inner, b.constant(np.float32(0.9))])
    if scaled and name == "Acosh":
        scaled = b.one("Add", [b.one("Abs", [scaled]) or scaled, b.constant(np.float32(1.1))])
    made = scaled and b.one(name, [scaled])
    return b.one("Where", [made, b.constant(np.float32(1)), x]) if made and name.startswith("Is") else made


def compared(b: Builder, x: str) -> str | None:
    """A comparison with a bound, by the words of opset 12 on, or equality of whole numbers."""
    kind = b.pick("GreaterOrEqual", "LessOrEqual", "Equal")
    if kind == "Equal":
        whole = b.one("Cast", [x], to=b.pick(TensorProto.INT32, TensorProto.INT64))
        zero = whole and b.constant(np.zeros((), b.values[whole][0].dtype))
        is_so = whole and zero and b.one("Equal", [whole, zero])
    else:
        is_so = b.one(kind, [x, b.constant(np.float32(b.pick(0, 0.3)))])
    number = is_so and (b.one("CastLike", [is_so, x]) if b.opset >= 15 and b.maybe() else b.one("Cast", [is_so], to=1))
    return number and b.one("Add", [x, number])


def bits(b: Builder, x: str) -> str | None:
    """Whole numbers by their bits."""
    held = b.one("Clip", [x, b.constant(np.float32(0)), b.constant(np.float32(200))]) if b.opset >= 11 else None
    whole = held and b.one("Cast", [held], to=TensorProto.UINT8)
    if not whole:
        return None
    kind = b.pick("BitShift", *(["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"] if b.opset >= 18 else []))
    inputs = [whole] if kind == "BitwiseNot" else [whole, b.constant(np.uint8(b.pick(1, 2, 3)))]
    made = b.one(kind, inputs, **({"direction": b.pick("LEFT", "RIGHT")} if kind == "BitShift" else {}))
    return made and b.one("Mul", [b.one("Cast", [made], to=FLOAT) or "", b.constant(np.float32(0.1))])


def windowed(b: Builder, x: str) -> str | None:
    """A window of a signal over the last axis."""
    if b.opset < 17 or b.rank(x) < 2 or b.follows[x] == b.rank(x) - 1:
        return None
    size = b.constant(np.int64(b.shape(x)[-1]))
    window = b.one(b.pick("HannWindow", "HammingWindow", "BlackmanWindow"), [size], periodic=b.pick(None, 0))
    return window and b.one("Mul", [x, window])


def mel(b: Builder, x: str) -> str | None:
    """Powers of a spectrum in bands of the mel scale, as a model of sound begins."""
    if b.opset < 17 or b.rank(x) != 2 or b.follows[x] != 0 or b.shape(x)[1] < 8:
        return None
    size, wide = b.shape(x)[1], b.one("Unsqueeze", [x, b.ints(2)])
    axis = {"axis": 1} if b.opset < 20 else {}
    found = wide and b.one("DFT", [wide, *(["", b.constant(np.int64(1))] * (b.opset >= 20))], onesided=1, **axis)
    power = found and b.one("ReduceSumSquare", [found, *([b.ints(-1)] * (b.opset >= 18))], keepdims=0,
                            axes=[-1] if b.opset < 18 else None)  # fmt: skip
    bands = b.one("MelWeightMatrix", [b.constant(np.int64(4)), b.constant(np.int64(size)), b.constant(np.int64(16_000)),
                                      b.constant(np.float32(20)), b.constant(np.float32(8000))])  # fmt: skip
    made = power and bands and b.one("MatMul", [power, bands])
    return made and b.one("Log", [b.one("Add", [made, b.constant(np.float32(1e-2))]) or made])


def folded(b: Builder, x: str) -> str | None:
    """Columns that become an image again."""
    if b.opset < 18 or b.rank(x) != 4 or b.follows[x] != 0 or b.shape(x)[2] < 4:
        return None
    channels, height, width = b.shape(x)[1:]
    if height % 2 or width % 2:
        return None
    places = height * width // 4
    columns = b.one("Reshape", [x, b.ints(0, channels * 4, places)])
    return columns and b.one("Col2Im", [columns, b.ints(height, width), b.ints(2, 2)], strides=[2, 2])


def deformed(b: Builder, x: str) -> str | None:
    """A convolution whose places move by what another computes."""
    if b.opset < 19 or b.rank(x) != 4 or b.follows[x] != 0:
        return None
    channels = b.shape(x)[1]
    moving = weight(b, np.asarray(b.normal(2 * 9, channels, 3, 3) * 0.1, np.float32))
    offset = b.one("Conv", [x, moving], pads=[1] * 4, kernel_shape=[3, 3])
    held = weight(b, np.asarray(b.normal(4, channels, 3, 3) / 3, np.float32))
    return offset and b.one("DeformConv", [x, held, offset], pads=[1] * 4, kernel_shape=[3, 3])


def regions(b: Builder, x: str) -> str | None:
    """Boxes that are constants, of every image; means, as onnxruntime says that its largest ones are wrong."""
    if b.opset < 10 or b.rank(x) != 4 or b.follows[x] != 0:
        return None
    shape = b.one("Shape", [x])
    size = shape and b.one("Gather", [shape, b.constant(np.int64(0))])
    first, step = b.constant(np.int64(0)), b.constant(np.int64(1))
    images = size and b.opset >= 11 and b.one("Range", [first, size, step])
    each = images and b.one("Concat", [b.one("Unsqueeze", [size, b.ints(0)]) or "", b.ints(4)], axis=0)
    box = b.constant(np.asarray([[0, 0, b.shape(x)[3] - 1.5, b.shape(x)[2] - 1]], np.float32))
    boxes = each and b.opset >= 13 and b.one("Expand", [box, each])
    more = {"coordinate_transformation_mode": b.pick("half_pixel", "output_half_pixel")} if b.opset >= 16 else {}
    return (boxes or None) and b.one(
        "RoiAlign", [x, str(boxes), str(images)], output_height=3, output_width=3, sampling_ratio=b.pick(0, 2),
        **more,
    )  # fmt: skip


def scattered(b: Builder, x: str) -> str | None:
    """A step of a sequence that is replaced by the first, by ScatterND at a place that all samples share."""
    if b.opset < 11 or b.rank(x) != 3 or b.follows[x] != 0 or b.shape(x)[1] < 3:
        return None
    turned = b.one("Transpose", [x], perm=[1, 0, 2])
    row = turned and b.one("Slice", [turned, b.ints(0), b.ints(1), b.ints(0)])
    more = {"reduction": b.pick("none", "add", "mul")} if b.opset >= 16 else {}
    made = row and b.one("ScatterND", [str(turned), b.constant(np.asarray([[2]], np.int64)), row], **more)
    return made and b.one("Transpose", [made], perm=[1, 0, 2])


def reversed_order(b: Builder, x: str) -> str | None:
    """Sequences of which each is turned around up to its length, all alike."""
    if b.opset < 10 or b.rank(x) != 3 or b.follows[x] != 0 or b.opset < 11:
        return None
    shape = b.one("Shape", [x])
    size = shape and b.one("Gather", [shape, b.ints(0)], axis=0)
    lengths = size and b.one("Expand", [b.constant(np.asarray([b.shape(x)[1] - 1], np.int64)), size])
    return lengths and b.one("ReverseSequence", [x, lengths], batch_axis=0, time_axis=1)


def listed(b: Builder, x: str) -> str | None:
    """Values put into a sequence and taken out of it."""
    if b.opset < 11:
        return None
    held, longer, taken, joined = (b.name(stem) for stem in ("seq", "longer", "taken", "joined"))
    other = b.one("Neg", [x])
    if other is None:
        return None
    nodes = [helper.make_node("SequenceConstruct", [x, other], [held])]
    if b.maybe():
        nodes.append(helper.make_node("SequenceInsert", [held, x], [longer]))
        held = longer
    if b.maybe():
        nodes.append(helper.make_node("SequenceAt", [held, b.constant(np.int64(b.pick(0, 1, -1)))], [taken]))
        return next(iter(b.join(nodes, [taken])), None)
    nodes.append(helper.make_node("ConcatFromSequence", [held], [joined], axis=b.rank(x) - 1))
    return next(iter(b.join(nodes, [joined])), None)


def mapped(b: Builder, x: str) -> str | None:
    """A SequenceMap over the parts of a value."""
    axis = b.axis(x)
    if b.opset < 17 or axis == b.follows[x] or b.shape(x)[axis] < 2:
        return None
    held, changed, joined, seen, given = (b.name(stem) for stem in ("seq", "changed", "joined", "seen", "given"))
    body = helper.make_graph(
        [helper.make_node(b.pick("Relu", "Tanh"), [seen], [given])], "body",
        [helper.make_tensor_value_info(seen, 1, None)], [helper.make_tensor_value_info(given, 1, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("SplitToSequence", [x, b.constant(np.int64(1))], [held], axis=axis),
        helper.make_node("SequenceMap", [held], [changed], body=body),
        helper.make_node("ConcatFromSequence", [changed], [joined], axis=axis),
    ]
    return next(iter(b.join(nodes, [joined])), None)


def cropped(b: Builder, x: str) -> str | None:
    """Cut or filled up around the middle."""
    axis = b.axis(x)
    if b.opset < 18 or axis == b.follows[x] or b.shape(x)[axis] < 3:
        return None
    return b.one("CenterCropPad", [x, b.ints(b.shape(x)[axis] + b.pick(-1, 2))], axes=[b.pick(axis, axis - b.rank(x))])


def turned(b: Builder, x: str) -> str | None:
    """Resampled where an affine map of constants says."""
    if b.opset < 20 or b.rank(x) != 4 or b.follows[x] != 0:
        return None
    shape = b.one("Shape", [x])
    size = shape and b.one("Gather", [shape, b.ints(0)], axis=0)
    sizes = size and b.one("Concat", [size, b.ints(b.shape(x)[1], 5, 4)], axis=0)
    theta = size and b.one("Expand", [b.constant(np.asarray([[[0.8, 0.1, 0], [-0.1, 0.9, 0.1]]], np.float32)),
                                      b.one("Concat", [size, b.ints(2, 3)], axis=0) or ""])  # fmt: skip
    corners = b.pick(0, 1)
    grid = sizes and theta and b.one("AffineGrid", [theta, sizes], align_corners=corners)
    mode = b.pick("linear", "cubic")
    return grid and b.one("GridSample", [x, grid], align_corners=corners, mode=mode)


def compressed(b: Builder, x: str) -> str | None:
    """Places that a constant of booleans keeps."""
    axis = b.axis(x)
    if b.opset < 9 or axis == b.follows[x] or b.shape(x)[axis] < 3:
        return None
    return b.one("Compress", [x, b.constant(np.arange(b.shape(x)[axis]) % 3 != 1)], axis=axis)


def positions(b: Builder, x: str) -> str | None:
    """Positions counted from the value's own size, added to it."""
    if b.opset < 11 or b.rank(x) != 3 or b.follows[x] != 0:
        return None
    shape = b.one("Shape", [x])
    size = shape and b.one("Gather", [shape, b.constant(np.int64(1))])
    counted = size and b.one("Range", [b.constant(np.int64(0)), size, b.constant(np.int64(1))])
    table = weight(b, b.normal(12, b.shape(x)[2]), "table")
    rows = counted and b.one("Gather", [table, counted])
    return rows and b.one("Add", [x, rows])


def squares(b: Builder, x: str) -> str | None:
    """Matrices of a batch: their determinants, or an EyeLike of one that is added."""
    if b.rank(x) != 3 or b.shape(x)[1] != b.shape(x)[2] or b.opset < 11:
        return None
    if b.maybe():
        found = b.one("Det", [x])
        return found and b.one("Unsqueeze", [found, b.ints(1)]) if b.opset >= 13 else None
    flat = b.one("ReduceMean", [x, *([b.ints(0)] * (b.opset >= 18))], keepdims=0, axes=[0] if b.opset < 18 else None)
    return flat and b.one("Add", [x, b.one("EyeLike", [flat]) or flat])


def rotary(b: Builder, x: str) -> str | None:
    """Positions turned into a value of heads."""
    if b.opset < 23 or b.rank(x) != 3 or b.follows[x] != 0 or b.shape(x)[2] % 4:
        return None
    length, size = b.shape(x)[1:]
    heads = 2
    wide = np.arange(12)[:, None] * np.power(0.1, np.arange(size // heads // 2))[None]
    shape = b.one("Shape", [x])
    batch = shape and b.one("Gather", [shape, b.ints(0)], axis=0)
    sizes = batch and b.one("Concat", [batch, b.ints(length)], axis=0)
    places = sizes and b.one("Expand", [b.constant(np.arange(length)[None]), sizes])
    tables = [b.constant(np.asarray(of(wide), np.float32)) for of in (np.cos, np.sin)]
    return places and b.one("RotaryEmbedding", [x, *tables, places], num_heads=heads, interleaved=b.pick(None, 1))


def masked_attention(b: Builder, x: str) -> str | None:
    """The operator of opset 23 with what few use of it: a mask, groups of heads, a bound of the scores."""
    if b.opset < 23 or b.rank(x) != 3 or b.follows[x] != 0:
        return None
    length, size = b.shape(x)[1:]
    few = b.pick(1, 2)
    q, k, v = (
        b.one("MatMul", [x, weight(b, np.asarray(b.normal(size, n), np.float32))]) for n in (8, 4 * few, 4 * few)
    )
    if not (q and k and v):
        return None
    mask = b.pick(None, b.normal(length, length), b.chance.random((length, length)) < 0.8)
    if mask is not None and mask.dtype == bool:
        np.fill_diagonal(mask, val=True)
    return b.one(
        "Attention", [q, k, v, *([] if mask is None else [b.constant(mask)])], q_num_heads=2, kv_num_heads=few,
        is_causal=b.pick(None, 1), scale=b.pick(None, 0.3), softcap=b.pick(None, 5.0),
    )  # fmt: skip


def normed(b: Builder, x: str) -> str | None:
    """RMSNormalization over several axes, or a LayerNormalization's other results."""
    if b.opset < 17 or b.rank(x) < 3 or b.follows[x] != 0:
        return None
    axis = b.pick(-1, -2)
    gain = weight(b, np.abs(b.normal(*b.shape(x)[axis:])) + np.float32(0.5), "g")
    if b.opset >= 23 and b.maybe():
        return b.one("RMSNormalization", [x, gain], axis=axis, epsilon=b.pick(None, 1e-3))
    found = b.add("LayerNormalization", [x, gain], 3, axis=axis)
    return b.one("Mul", [found[0], found[2]]) if found else None


def smallest(b: Builder, x: str) -> str | None:
    """The place of the least, the last of equal ones, as an offset."""
    if b.rank(x) < 2 or b.opset < 12:
        return None
    best = b.one("ArgMin", [x], axis=b.axis(x), keepdims=1, select_last_index=b.pick(None, 1))
    number = best and b.one("Cast", [best], to=FLOAT)
    return number and b.one("Add", [x, b.one("Mul", [number, b.constant(np.float32(0.1))]) or number])


RARER: tuple[Callable[[Builder, str], str | None], ...] = (
    angles, compared, bits, windowed, mel, folded, deformed, regions, scattered, reversed_order, listed, mapped,
    cropped, turned, compressed, positions, squares, rotary, masked_attention, normed, smallest,
)  # fmt: skip
