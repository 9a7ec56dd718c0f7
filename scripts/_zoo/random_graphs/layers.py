"""Operators with weights, in the forms that their opsets have; each gives None where the value does not suit it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import helper

from .builder import CONTRIB, Array, Builder
from .places import weight


def _drawn(b: Builder, *shape: int, fan: int) -> Array:
    return np.asarray(b.normal(*shape) / math.sqrt(fan), np.float32)


def _bias(b: Builder, size: int) -> list[str]:
    return [weight(b, b.normal(size) * np.float32(0.3), "b")] if b.maybe(0.7) else []


def conv(b: Builder, x: str) -> str | None:
    spatial, channels = b.rank(x) - 2, b.shape(x)[1] if b.rank(x) > 1 else 0
    if not 1 <= spatial <= 3 or b.follows[x] != 0:
        return None
    kernel = [int(b.pick(1, 2, 3)) for _ in range(spatial)]
    groups = b.pick(1, 1, channels, *[g for g in (2,) if channels % g == 0])
    made = groups * int(b.pick(1, 2, 3)) if groups > 1 else int(b.pick(2, 4, 5, 8))
    held = weight(b, _drawn(b, made, channels // groups, *kernel, fan=channels // groups * math.prod(kernel)))
    attributes = {"group": groups, "kernel_shape": kernel if b.maybe(0.7) else None, **_window(b, kernel)}
    return b.one("Conv", [x, held, *_bias(b, made)], **attributes)


def _window(b: Builder, kernel: list[int]) -> dict[str, object]:
    """Strides, dilations and pads, by numbers or by a word."""
    spatial = len(kernel)
    found: dict[str, object] = {"strides": b.pick(None, [1] * spatial, [2] * spatial, [2, 1, 1][:spatial])}
    kind = b.pick("none", "same", "odd", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    if kind.isupper():
        return {**found, "auto_pad": kind}
    found["dilations"] = b.pick(None, None, [2] * spatial)
    if kind == "same":
        return {**found, "pads": [size // 2 for size in kernel] * 2}
    return {**found, "pads": [int(b.pick(0, 1)) for _ in range(2 * spatial)]} if kind == "odd" else found


def conv_transpose(b: Builder, x: str) -> str | None:
    spatial, channels = b.rank(x) - 2, b.shape(x)[1] if b.rank(x) > 1 else 0
    if not 1 <= spatial <= 2 or b.follows[x] != 0:
        return None
    kernel, groups = [int(b.pick(2, 3)) for _ in range(spatial)], b.pick(1, *[g for g in (2,) if channels % g == 0])
    held = weight(b, _drawn(b, channels, 3, *kernel, fan=channels * 2))
    strides = b.pick(None, [2] * spatial)
    more: dict[str, object] = b.pick(
        {}, {"pads": [1] * (2 * spatial)}, {"auto_pad": b.pick("SAME_UPPER", "SAME_LOWER", "VALID")},
        {"output_padding": [1] * spatial}, {"output_shape": [2 * size + 1 for size in b.shape(x)[2:]]},
    )  # fmt: skip
    return b.one("ConvTranspose", [x, held, *_bias(b, 3 * groups)], group=groups, strides=strides, **more)


def gemm(b: Builder, x: str) -> str | None:
    if b.rank(x) != 2:
        return None
    turned = b.follows[x] == 1 and b.maybe(0.8)
    size, made = b.shape(x)[0 if turned else 1], int(b.pick(3, 5, 8))
    across = b.maybe()
    shape = (made, size) if across else (size, made)
    held = weight(b, _drawn(b, *shape, fan=size))
    added = b.pick((made,), (1, made), (1,), (), None)
    if added is None and b.opset < 11:
        added = (made,)
    third = [] if added is None else [weight(b, b.normal(*added) * np.float32(0.5), "b")]
    return b.one(
        "Gemm", [x, held, *third], transA=int(turned) or b.pick(None, 0), transB=int(across) or None,
        alpha=b.pick(None, 0.5, 1.5), beta=b.pick(None, 0.7, 0.0),
    )  # fmt: skip


def matmul(b: Builder, x: str) -> str | None:
    if b.rank(x) < 2:
        return None
    size, made = b.shape(x)[-1], int(b.pick(4, 6, 8))
    kind = b.pick("matrix", "matrix", "matrix", "vector", "left", "batched")
    if kind == "vector":
        return b.one("MatMul", [x, weight(b, _drawn(b, size, fan=size))]) if b.rank(x) > 2 else None
    if kind == "left" and b.follows[x] != b.rank(x) - 2:
        return b.one("MatMul", [weight(b, _drawn(b, made, b.shape(x)[-2], fan=b.shape(x)[-2])), x])
    lead = [1] * (b.rank(x) - 2) if kind == "batched" else []
    made_by = b.one("MatMul", [x, weight(b, _drawn(b, *lead, size, made, fan=size))])
    return (made_by and (b.one("Add", [made_by, *_bias(b, made)]) if b.maybe() else made_by)) or made_by


def einsum(b: Builder, x: str) -> str | None:
    if b.opset < 12 or b.rank(x) not in (2, 3):
        return None
    size = b.shape(x)[-1]
    word = b.pick("...d,de->...e", "bd,de->be" if b.rank(x) == 2 else "btd,ed->bte", "...d,ed->...e")
    shape = (6, size) if ",ed" in word else (size, 6)
    return b.one("Einsum", [x, weight(b, _drawn(b, *shape, fan=size))], equation=word)


def recurrent(b: Builder, x: str) -> str | None:
    """RNN, LSTM or GRU over [T, N, C], in either layout, with what else they take."""
    if b.rank(x) != 3 or b.follows[x] not in (0, 1):
        return None
    first = b.follows[x] == 0
    layout = int(first and b.opset >= 14 and b.maybe())
    if first and not layout:
        x = b.one("Transpose", [x], perm=[1, 0, 2]) or x
    kind, hidden = b.pick("RNN", "LSTM", "GRU"), int(b.pick(3, 4))
    way = b.pick("forward", "reverse", "bidirectional")
    ways, gates, size = 1 + (way == "bidirectional"), {"RNN": 1, "LSTM": 4, "GRU": 3}[kind], b.shape(x)[-1]
    inputs = [
        x, weight(b, _drawn(b, ways, gates * hidden, size, fan=size)),
        weight(b, _drawn(b, ways, gates * hidden, hidden, fan=hidden)),
        weight(b, b.normal(ways, 2 * gates * hidden) * np.float32(0.2), "b") if b.maybe() else "",
    ]  # fmt: skip
    if kind == "LSTM" and b.maybe(0.3):
        inputs += ["", "", "", weight(b, b.normal(ways, 3 * hidden) * np.float32(0.2), "p")]
    more = {"layout": layout or None, "clip": b.pick(None, None, 3.0), "activations": _activations(b, kind, ways)}
    if kind == "GRU":
        more["linear_before_reset"] = b.pick(None, 1)
    found = b.add(kind, _trimmed(inputs), 1 + b.maybe(0.3), hidden_size=hidden, direction=way, **more)
    if not found:
        return None
    if layout:  # [N, T, ways, hidden]
        return b.one("Reshape", [found[0], b.ints(0, 0, ways * hidden)])
    moved = b.one("Transpose", [found[0]], perm=[0, 2, 1, 3])  # of [T, ways, N, hidden]
    flat = moved and b.one("Reshape", [moved, b.ints(0, 0, ways * hidden)])
    return flat and (b.one("Transpose", [flat], perm=[1, 0, 2]) if first else flat)


def _activations(b: Builder, kind: str, ways: int) -> list[str] | None:
    if b.maybe(0.7):
        return None
    count = {"RNN": 1, "LSTM": 3, "GRU": 2}[kind]
    return [b.pick("Sigmoid", "Tanh", "Relu") if kind == "RNN" else ("Sigmoid", "Tanh", "Tanh")[i]
            for _ in range(ways) for i in range(count)]  # fmt: skip


def _trimmed(inputs: list[str]) -> list[str]:
    while inputs and not inputs[-1]:
        inputs = inputs[:-1]
    return inputs


def batch_norm(b: Builder, x: str) -> str | None:
    if b.rank(x) < 2 or b.follows[x] == 1:
        return None
    size = b.shape(x)[1]
    one = np.float32(1)
    held = [
        weight(b, one + b.normal(size) * np.float32(0.2), "g"), weight(b, b.normal(size) * np.float32(0.3), "b"),
        weight(b, b.normal(size) * np.float32(0.3), "m"), weight(b, np.abs(b.normal(size)) + one, "v"),
    ]  # fmt: skip
    odd = {"spatial": 1} if b.opset < 9 and b.maybe() else {}
    mode = {"training_mode": 0} if b.opset >= 14 and b.maybe() else {}
    return b.one(
        "BatchNormalization", [x, *held], epsilon=b.pick(None, 1e-3), momentum=b.pick(None, 0.1), **odd, **mode
    )


def norm(b: Builder, x: str) -> str | None:
    if b.rank(x) < 2:
        return None
    size, last = b.shape(x)[1], b.shape(x)[-1]
    one = np.float32(1)

    def pair(count: int) -> list[str]:
        return [weight(b, one + b.normal(count) * np.float32(0.2), "g"), weight(b, b.normal(count), "b")]

    kind = b.pick("instance", "layer", "layer", "group", "rms", "lrn", "lp", "mvn", "simplified", "skip")
    if kind == "instance" and b.rank(x) > 2 and b.follows[x] == 0:
        return b.one("InstanceNormalization", [x, *pair(size)])
    if kind == "layer" and b.opset >= 17 and b.follows[x] != b.rank(x) - 1:
        return b.one("LayerNormalization", [x, *pair(last)[: b.pick(1, 2)]], axis=b.pick(-1, b.rank(x) - 1))
    if kind == "group" and b.opset >= 18 and b.follows[x] == 0 and b.rank(x) > 2:
        groups = b.pick(1, size)
        return b.one("GroupNormalization", [x, *pair(groups if b.opset < 21 else size)], num_groups=groups)
    if kind == "rms" and b.opset >= 23:
        return b.one("RMSNormalization", [x, pair(last)[0]], axis=-1)
    if kind == "simplified" and b.follows[x] != b.rank(x) - 1:
        return b.one("SimplifiedLayerNormalization", [x, pair(last)[0]], axis=-1, epsilon=1e-5)
    if kind == "skip" and b.rank(x) == 3 and b.follows[x] == 0:
        return b.one("SkipLayerNormalization", [x, x, *pair(last)], domain=CONTRIB)
    if kind == "lrn" and b.rank(x) == 4:
        return b.one("LRN", [x], size=int(b.pick(1, 3)), alpha=b.pick(None, 0.1), bias=b.pick(None, 2.0))
    if kind == "lp":
        return b.one("LpNormalization", [x], axis=b.pick(-1, b.axis(x)), p=b.pick(1, 2))
    if kind == "mvn" and b.rank(x) == 4 and b.opset >= 9:
        return b.one("MeanVarianceNormalization", [x], axes=b.pick(None, [2, 3]) if b.follows[x] == 0 else [2, 3])
    return None


def slope(b: Builder, x: str) -> str | None:
    if b.rank(x) < 2:
        return None
    shape = [1] * b.rank(x) if b.maybe() else [b.shape(x)[1], *[1] * (b.rank(x) - 2)]
    if b.follows[x] == 1:
        shape = [1]
    return b.one("PRelu", [x, weight(b, np.abs(b.normal(*shape)) * np.float32(0.3), "slope")])


def affine(b: Builder, x: str) -> str | None:
    """A constant for each place of an axis, with more or fewer leading ones than the value has axes."""
    axis = b.axis(x)
    shape = [1] * b.rank(x)
    shape[axis] = b.shape(x)[axis] if axis != b.follows[x] else 1
    form = b.pick("as it is", "short", "long", "scalar")
    shape = shape[axis:] if form == "short" else [1, *shape] if form == "long" and b.maybe(0.3) else shape
    array = b.normal() if form == "scalar" else b.normal(*shape)
    array = np.sign(array) * (np.abs(array) * np.float32(0.5) + np.float32(0.3))
    held = weight(b, np.asarray(array, np.float32), "k")
    operator = b.pick("Add", "Mul", "Sub", "Div", "Max", "Min")
    return b.one(operator, [x, held] if b.maybe(0.7) or operator == "Div" else [held, x])


def table(b: Builder, x: str) -> str | None:
    """Rows of a table that whole numbers choose."""
    if b.values[x][0].dtype.kind not in "iu" or b.rank(x) > 3:
        return None
    rows = 12
    chosen = x if b.values[x][0].dtype in (np.int32, np.int64) else b.one("Cast", [x], to=7)
    return chosen and b.one(
        "Gather", [weight(b, b.normal(rows, int(b.pick(4, 6))), "table"), chosen], axis=b.pick(None, 0)
    )


def attention(b: Builder, x: str) -> str | None:
    """Of itself, by products or by the operators that there are for it."""
    if b.rank(x) != 3 or b.follows[x] != 0:
        return None
    size = b.shape(x)[-1]
    q, k, v = (b.one("MatMul", [x, weight(b, _drawn(b, size, 4, fan=size))]) for _ in range(3))
    if not (q and k and v):
        return None
    if b.opset >= 23 and b.maybe():
        return b.one("Attention", [q, k, v], q_num_heads=2, kv_num_heads=2, is_causal=b.pick(0, 1))
    if b.maybe(0.2):
        return b.one("MultiHeadAttention", [q, k, v], domain=CONTRIB, num_heads=2)
    turned = b.one("Transpose", [k], perm=[0, 2, 1])
    scores = turned and b.one("MatMul", [q, turned])
    scaled = scores and b.one(b.pick("Mul", "Div"), [scores, b.constant(np.float32(b.pick(0.5, 2)))])
    shares = scaled and b.one("Softmax", [scaled], axis=-1 if b.opset >= 11 else 2)
    return shares and b.one("MatMul", [shares, v])


def fused(b: Builder, x: str) -> str | None:
    """Operators that onnxruntime adds to ONNX."""
    size = b.shape(x)[-1] if b.rank(x) else 0
    kind = b.pick("FusedMatMul", "BiasGelu", "FastGelu", "QuickGelu", "Gelu", "FusedConv", "FusedGemm", "BiasSoftmax")
    if kind == "FusedMatMul" and b.rank(x) >= 2:
        return b.one(kind, [x, weight(b, _drawn(b, 4, size, fan=size))], CONTRIB, transB=1, alpha=b.pick(1.0, 0.5))
    if kind in ("BiasGelu", "FastGelu") and b.rank(x) >= 2:
        return b.one(kind, [x, weight(b, b.normal(size), "b")], CONTRIB)
    if kind in ("QuickGelu", "Gelu"):
        return b.one(kind, [x], CONTRIB, **({"alpha": 1.5} if kind == "QuickGelu" else {}))
    if kind == "FusedConv" and b.rank(x) == 4 and b.follows[x] == 0:
        held = weight(b, _drawn(b, 4, b.shape(x)[1], 2, 2, fan=4 * b.shape(x)[1]))
        return b.one(kind, [x, held, weight(b, b.normal(4), "b")], CONTRIB, activation="Relu")
    if kind == "FusedGemm" and b.rank(x) == 2 and b.follows[x] == 0:
        held = weight(b, _drawn(b, size, 4, fan=size))
        return b.one(kind, [x, held, weight(b, b.normal(4), "b")], CONTRIB, activation="Relu")
    return None


def rounded(b: Builder, x: str) -> str | None:
    """A QuantizeLinear and a DequantizeLinear already around a value."""
    if b.opset < 10 or b.maybe(0.9):
        return None
    largest = max(float(np.abs(array).max()) for array in b.values[x])
    scale, zero = b.constant(np.float32(largest / 120)), b.constant(np.int8(0))
    whole = b.one("QuantizeLinear", [x, scale, zero])
    return whole and b.one("DequantizeLinear", [whole, scale, zero])


def integers(b: Builder, x: str) -> str | None:
    """A product of integers, as dynamic quantization writes it."""
    if b.opset < 11 or b.rank(x) != 2 or b.follows[x] != 0 or b.maybe(0.9):
        return None
    found = b.add("DynamicQuantizeLinear", [x], 3)
    if not found:
        return None
    held = b.constant(np.asarray(b.chance.integers(-100, 100, (b.shape(x)[1], 4)), np.int8))
    made = b.one("MatMulInteger", [found[0], held, found[2]])
    wide = made and b.one("Cast", [made], to=1)
    return wide and b.one("Mul", [wide, b.one("Mul", [found[1], b.constant(np.float32(0.01))]) or ""])


def chosen(b: Builder, x: str) -> str | None:
    """An If whose arms read weights of the graph around them, or hold their own."""
    if b.rank(x) < 2 or b.opset < 11:
        return None
    total = (
        b.one("ReduceMean", [x], axes=list(range(b.rank(x))), keepdims=0)
        if b.opset < 18
        else b.one("ReduceMean", [x], keepdims=0)
    )
    is_so = total and b.one("Greater", [total, b.constant(np.float32(b.pick(-50, 0, 50)))])
    if not is_so:
        return None
    held, result = weight(b, _drawn(b, b.shape(x)[-1], 5, fan=b.shape(x)[-1])), b.name("if")
    arms = []
    for operator in ("Relu", "Tanh"):
        inner, last = b.name("arm"), b.name("arm")
        nodes = [helper.make_node("MatMul", [x, held], [inner]), helper.make_node(operator, [inner], [last])]
        arms.append(helper.make_graph(nodes, "arm", [], [helper.make_empty_tensor_value_info(last)]))
    node = helper.make_node("If", [is_so], [result], "if", then_branch=arms[0], else_branch=arms[1])
    return next(iter(b.join([node], [result])), None)


def looped(b: Builder, x: str) -> str | None:
    """A Loop that runs two or three times over a product with a weight from outside, or a Scan along the time."""
    if b.opset < 11 or b.rank(x) != 2 or b.follows[x] != 0:
        return None
    size = b.shape(x)[1]
    held = weight(b, _drawn(b, size, size, fan=size))
    step, is_on, old, new, still, inner = (b.name(stem) for stem in ("step", "on", "old", "new", "still", "inner"))
    nodes = [
        helper.make_node("MatMul", [old, held], [inner]), helper.make_node("Tanh", [inner], [new]),
        helper.make_node("Identity", [is_on], [still]),
    ]  # fmt: skip
    body = helper.make_graph(
        nodes, "body",
        [helper.make_tensor_value_info(step, 7, []), helper.make_tensor_value_info(is_on, 9, []),
         helper.make_tensor_value_info(old, 1, [None, size])],
        [helper.make_tensor_value_info(still, 9, []), helper.make_tensor_value_info(new, 1, [None, size])],
    )  # fmt: skip
    result = b.name("loop")
    count, go = b.constant(np.int64(b.pick(2, 3))), b.pick("", b.constant(np.bool_(True)))
    return next(iter(b.join([helper.make_node("Loop", [count, go, x], [result], "loop", body=body)], [result])), None)


def scanned(b: Builder, x: str) -> str | None:
    """A Scan along the second axis, with a weight from outside, as a small recurrent layer."""
    if b.opset < 11 or b.rank(x) != 3 or b.follows[x] != 0:
        return None
    size = b.shape(x)[2]
    begun = (
        b.one("ReduceMax", [x], axes=[1], keepdims=0)
        if b.opset < 18
        else b.one("ReduceMax", [x, b.ints(1)], keepdims=0)
    )
    if not begun:
        return None
    held = weight(b, _drawn(b, size, size, fan=size))
    state, seen, inner, new, given = (b.name(stem) for stem in ("state", "seen", "inner", "new", "given"))
    nodes = [
        helper.make_node("MatMul", [state, held], [inner]), helper.make_node("Add", [inner, seen], [b_sum := b.name()]),
        helper.make_node("Tanh", [b_sum], [new]), helper.make_node("Identity", [new], [given]),
    ]  # fmt: skip
    body = helper.make_graph(
        nodes, "body", [helper.make_tensor_value_info(name, 1, [None, size]) for name in (state, seen)],
        [helper.make_tensor_value_info(name, 1, [None, size]) for name in (new, given)],
    )  # fmt: skip
    last, every = b.name("scan"), b.name("scan")
    node = helper.make_node(
        "Scan", [begun, x], [last, every], "scan", body=body, num_scan_inputs=1, scan_input_axes=[1],
        scan_output_axes=[1], **({"scan_input_directions": [1]} if b.maybe() else {}),
    )  # fmt: skip
    found = b.join([node], [last, every])
    return found[1] if found else None


LAYERS: tuple[Callable[[Builder, str], str | None], ...] = (
    conv, conv, conv, conv_transpose, gemm, gemm, matmul, matmul, matmul, einsum, recurrent, recurrent, batch_norm,
    norm, norm, slope, affine, affine, attention, fused, rounded, integers, chosen, looped, scanned,
)  # fmt: skip
