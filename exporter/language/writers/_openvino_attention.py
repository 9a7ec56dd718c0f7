"""Attention with a cache in OpenVINO's operators.

The cache is a state of shape (batch, heads, positions, head size) that is read, gathered by beam, lengthened and
assigned: with ScaledDotProductAttention behind it the CPU plugin keeps it in place, and openvino_genai makes paged
attention of it. Only what it knows again may differ from plain causal attention: paged attention drops the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....backends._vendor import import_or_explain
from ..decoder import Attention, Norm, Rotary

Value = Any
# The smallest float of 16 bits: a row without anything to see stays finite.
HIDDEN = -65504.0


class Attending:
    """The attention of every layer of one graph, with what they share: masks by window, sines and cosines.

    Attributes:
        sinks: the assignments to the states.
    """

    def __init__(self, ops: Any, inputs: dict[str, Any], norm: Callable[[Value, Norm], Value]) -> None:
        """Build on these inputs; `norm` writes a norm over the last axis."""
        self._ops, self._inputs, self._norm = ops, inputs, norm
        self._masks: dict[int | None, Value] = {}
        self._turns: dict[Rotary, tuple[Value, Value]] = {}
        self._lengths: tuple[Value, Value] | None = None
        self.sinks: list[Any] = []

    def __call__(self, query: Value, key: Value, value: Value, attention: Attention, index: int) -> Value:
        """Of shape (batch, positions, heads * head size)."""
        ops, size = self._ops, attention.head_size
        queries = self._heads(query, attention.heads, attention, attention.query_norm)
        keys = self._heads(key, attention.kv_heads, attention, attention.key_norm)
        values = self._split(value, attention.kv_heads, size)
        if attention.rotary is not None:
            queries, keys = (self._turned(x, attention.rotary, size) for x in (queries, keys))
        keys = self._kept(keys, attention, f"{index}.key")
        values = self._kept(values, attention, f"{index}.value")
        keys, values = self._spread(keys, attention), self._spread(values, attention)
        seen = self._attended(queries, keys, values, attention)
        return ops.reshape(ops.transpose(seen, _i([0, 2, 1, 3])), _i([0, 0, attention.heads * size]), True)

    def _heads(self, x: Value, heads: int, attention: Attention, norm: Norm | None) -> Value:
        if norm is not None and not attention.norm_heads:
            x = self._norm(x, norm)
        each = norm if attention.norm_heads else None
        return self._split(x, heads, attention.head_size, each)

    def _split(self, x: Value, heads: int, size: int, norm: Norm | None = None) -> Value:
        """From (batch, positions, heads * size) to (batch, heads, positions, size)."""
        x = self._ops.reshape(x, _i([0, 0, heads, size]), True)
        if norm is not None:
            x = self._norm(x, norm)
        return self._ops.transpose(x, _i([0, 2, 1, 3]))

    def _attended(self, queries: Value, keys: Value, values: Value, attention: Attention) -> Value:
        ops, mask = self._ops, self._mask(attention.window)
        if not attention.softcap:
            return ops.scaled_dot_product_attention(queries, keys, values, mask, _f(attention.scale), causal=False)
        scores = ops.multiply(ops.matmul(queries, keys, False, True), _f(attention.scale / attention.softcap))
        scores = ops.add(ops.multiply(ops.tanh(scores), _f(attention.softcap)), mask)
        return ops.matmul(ops.softmax(scores, -1), values, False, False)

    def _kept(self, x: Value, attention: Attention, name: str) -> Value:
        """All positions, those before these included."""
        ops, heads, size = self._ops, attention.kv_heads, attention.head_size
        batch = ops.gather(ops.shape_of(self._inputs["input_ids"]), _i([0]), _i(0))
        empty = ops.broadcast(_f(0.0), ops.concat([batch, _i([heads, 0, size])], 0))
        variable = import_or_explain("openvino").op.util.VariableInfo()
        variable.data_shape = import_or_explain("openvino").PartialShape([-1, heads, -1, size])
        variable.data_type = import_or_explain("openvino").Type.f32
        variable.variable_id = f"past_key_values.{name}present.{name}"
        state = import_or_explain("openvino").op.util.Variable(variable)
        past = ops.gather(ops.read_value(empty, state), self._inputs["beam_idx"], _i(0))
        every = ops.concat([past, x], -2)
        self.sinks.append(ops.assign(every, state))
        return every

    def _spread(self, x: Value, attention: Attention) -> Value:
        """Each head as often as queries share it; plugins look through these three operators and copy nothing."""
        ops, times, size = self._ops, attention.heads // attention.kv_heads, attention.head_size
        if times == 1:
            return x
        x = ops.broadcast(ops.unsqueeze(x, _i(2)), _i([1, 1, times, 1, 1]), broadcast_spec="BIDIRECTIONAL")
        return ops.reshape(x, _i([0, attention.heads, -1, size]), True)

    def _mask(self, window: int | None) -> Value:
        """0 where a key is seen and `HIDDEN` elsewhere, of shape (batch, 1, queries, keys)."""
        if window not in self._masks:
            self._masks[window] = self._made_mask(window)
        return self._masks[window]

    def _made_mask(self, window: int | None) -> Value:
        ops = self._ops
        past, total = self._counted()
        keys = ops.unsqueeze(ops.range(_i(0), total, _i(1), "i64"), _i([0, 1, 2]))
        queries = ops.unsqueeze(ops.range(past, total, _i(1), "i64"), _i([0, 1, 3]))
        given = ops.convert(ops.unsqueeze(self._inputs["attention_mask"], _i([1, 2])), bool)
        seen = ops.less_equal(keys, queries)
        if window is not None:
            return self._windowed(keys, queries, seen, given, window)
        seen = ops.bitwise_and(seen, given)
        return ops.select(seen, _f(0.0), _f(HIDDEN))

    def _windowed(self, keys: Value, queries: Value, seen: Value, given: Value, window: int) -> Value:
        """The same, `window` positions back, said so that paged attention reads the window from it.

        It knows a window by this very chain of operators, whose sense is: near and seen and given.
        """
        ops = self._ops
        true = ops.constant(np.array(True))
        near = ops.greater(keys, ops.add(queries, _i(-window)))
        both = ops.bitwise_and(ops.bitwise_and(true, near), seen)
        both = ops.bitwise_and(ops.bitwise_and(true, both), given)
        both = ops.broadcast(both, _i([1, 1, 1, 1]), broadcast_spec="BIDIRECTIONAL")
        mask = ops.select(both, _f(0.0), _f(HIDDEN))
        return ops.slice(mask, _i([0]), _i([np.iinfo(np.int64).max]), _i([1]), _i([3]))

    def _counted(self) -> tuple[Value, Value]:
        """How many positions were before, and are in all."""
        if self._lengths is None:
            ops = self._ops
            asked, total = (
                ops.gather(ops.shape_of(self._inputs[name]), _i(1), _i(0)) for name in ("input_ids", "attention_mask")
            )
            self._lengths = ops.subtract(total, asked), total
        return self._lengths

    def _turned(self, x: Value, rotary: Rotary, size: int) -> Value:
        """Turn the first values of each head by its position, and leave the rest."""
        ops, count = self._ops, rotary.dimensions
        cosine, sine = self._turn(rotary)
        turned, rest = (x, None) if count == size else (_part(ops, x, 0, count), _part(ops, x, count, size))
        across = self._across_pairs(turned, rotary) if rotary.interleaved else self._across_halves(turned, count)
        turned = ops.add(ops.multiply(turned, cosine), ops.multiply(across, sine))
        return turned if rest is None else ops.concat([turned, rest], -1)

    def _across_halves(self, x: Value, count: int) -> Value:
        ops, half = self._ops, count // 2
        second = ops.multiply(_part(ops, x, half, count), _f(-1.0))
        return ops.concat([second, _part(ops, x, 0, half)], -1)

    def _across_pairs(self, x: Value, rotary: Rotary) -> Value:
        """-x1, x0, -x3, x2 ...: neighbours change places, and the one that comes first its sign."""
        ops, count = self._ops, rotary.dimensions
        places = np.arange(count).reshape(-1, 2)[:, ::-1].reshape(-1)
        signs = np.where(np.arange(count) % 2 == 0, -1, 1).astype(np.float32)
        return ops.multiply(ops.gather(x, ops.constant(places.astype(np.int64)), _i(-1)), ops.constant(signs))

    def _turn(self, rotary: Rotary) -> tuple[Value, Value]:
        """Cosine and sine of shape (batch, 1, positions, dimensions), for all layers that turn alike."""
        if rotary not in self._turns:
            ops = self._ops
            once = np.array(rotary.frequencies, np.float32)
            twice = np.repeat(once, 2) if rotary.interleaved else np.tile(once, 2)
            at = ops.convert(ops.unsqueeze(self._inputs["position_ids"], _i([1, 3])), np.float32)
            angle = ops.multiply(at, ops.constant(twice.reshape(1, 1, 1, -1)))
            both = ops.cos(angle), ops.sin(angle)
            if rotary.factor != 1:
                both = ops.multiply(both[0], _f(rotary.factor)), ops.multiply(both[1], _f(rotary.factor))
            self._turns[rotary] = both
        return self._turns[rotary]


def _part(ops: Any, x: Value, start: int, stop: int) -> Value:
    return ops.slice(x, _i([start]), _i([stop]), _i([1]), _i([3]))


def _i(value: Any) -> Any:
    return import_or_explain("openvino.opset15").constant(np.array(value, np.int64))


def _f(value: float) -> Any:
    return import_or_explain("openvino.opset15").constant(np.array(value, np.float32))
