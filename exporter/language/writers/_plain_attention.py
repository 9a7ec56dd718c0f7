"""Attention with a cache in operators of the ONNX standard: keys and values come in and go out longer."""

from __future__ import annotations

import numpy as np

from ..decoder import Attention, Rotary
from ._onnx_graph import GraphFile

# Far below any product, and not so far that a row of nothing else were no number.
_UNSEEN = -1e30


class PlainAttention:
    """Positions follow from the cache's length: every row of a batch has as many tokens behind it.

    Args:
        cache: input whose axis 2 is as long as the cache.
        tokens: input whose axis 1 has the new positions.
        context: positions at most.
    """

    def __init__(self, graph: GraphFile, cache: str, tokens: str, context: int) -> None:
        self._graph, self._cache, self._tokens, self._context = graph, cache, tokens, context
        self._places: tuple[str, str] | None = None
        self._turns: dict[Rotary, tuple[str, str]] = {}
        self._masks: dict[int | None, str] = {}

    def places(self) -> str:
        """Positions of the new tokens, of shape (positions,)."""
        return self._all_places()[0]

    def attend(self, query: str, key: str, value: str, attention: Attention, index: int) -> str:
        """On heads apart, (batch, heads, positions, size), which are normed already; heads side by side come out."""
        graph = self._graph
        if attention.rotary is not None:
            query, key = self._turned(query, attention), self._turned(key, attention)
        keys, values = (self._grown(new, index, kind) for new, kind in ((key, "key"), (value, "value")))
        share = attention.heads // attention.kv_heads
        if share > 1:
            keys, values = (self._repeated(each, share, attention) for each in (keys, values))
        products = graph.node("MatMul", [query, graph.node("Transpose", [keys], perm=[0, 1, 3, 2])])
        products = graph.node("Mul", [products, graph.number(attention.scale)])
        if attention.softcap:
            within = graph.node("Tanh", [graph.node("Div", [products, graph.number(attention.softcap)])])
            products = graph.node("Mul", [within, graph.number(attention.softcap)])
        shares = graph.node("Softmax", [graph.node("Add", [products, self._mask(attention.window)])], axis=-1)
        attended = graph.node("Transpose", [graph.node("MatMul", [shares, values])], perm=[0, 2, 1, 3])
        return graph.node("Reshape", [attended, graph.integers([0, 0, attention.heads * attention.head_size])])

    def _all_places(self) -> tuple[str, str]:
        """Positions of the new tokens, and of all."""
        if self._places is None:
            graph = self._graph
            past = self._size(self._cache, 2)
            total = graph.node("Add", [past, self._size(self._tokens, 1)])
            zero, one = graph.integer(0), graph.integer(1)
            self._places = graph.node("Range", [past, total, one]), graph.node("Range", [zero, total, one])
        return self._places

    def _size(self, value: str, axis: int) -> str:
        return self._graph.node("Gather", [self._graph.node("Shape", [value]), self._graph.integer(axis)])

    def _grown(self, new: str, index: int, kind: str) -> str:
        present = f"present.{index}.{kind}"
        past = f"past_key_values.{index}.{kind}"
        return self._graph.node("Concat", [past, new], name=present, outputs=[present], axis=2)

    def _repeated(self, x: str, share: int, attention: Attention) -> str:
        """Each head of keys or values for every head of queries that reads it."""
        graph = self._graph
        apart = graph.node("Unsqueeze", [x, graph.integers([2])])
        tiled = graph.node("Expand", [apart, graph.integers([1, 1, share, 1, 1])])
        return graph.node("Reshape", [tiled, graph.integers([0, attention.heads, -1, attention.head_size])])

    def _mask(self, window: int | None) -> str:
        """0 where a key is seen, of shape (positions, all positions)."""
        if window not in self._masks:
            graph = self._graph
            new, every = self._all_places()
            back = graph.node("Sub", [graph.node("Unsqueeze", [new, graph.integers([1])]), every])
            seen = graph.node("GreaterOrEqual", [back, graph.integer(0)])
            if window is not None:
                seen = graph.node("And", [seen, graph.node("Less", [back, graph.integer(window)])])
            self._masks[window] = graph.node("Where", [seen, graph.number(0.0), graph.number(_UNSEEN)])
        return self._masks[window]

    def _turned(self, x: str, attention: Attention) -> str:
        rotary = attention.rotary
        if rotary is None:
            return x
        cosine, sine = self._angles(rotary)
        size, rest = rotary.dimensions, attention.head_size - rotary.dimensions
        turned = self._part(x, 0, size, 1) if rest else x
        first, second = self._pairs(turned, rotary)
        graph = self._graph
        one = graph.node("Sub", [graph.node("Mul", [first, cosine]), graph.node("Mul", [second, sine])])
        two = graph.node("Add", [graph.node("Mul", [second, cosine]), graph.node("Mul", [first, sine])])
        whole = self._joined(one, two, rotary)
        if not rest:
            return whole
        return graph.node("Concat", [whole, self._part(x, size, attention.head_size, 1)], axis=-1)

    def _pairs(self, x: str, rotary: Rotary) -> tuple[str, str]:
        size = rotary.dimensions
        if rotary.interleaved:
            return self._part(x, 0, size, 2), self._part(x, 1, size, 2)
        return self._part(x, 0, size // 2, 1), self._part(x, size // 2, size, 1)

    def _joined(self, one: str, two: str, rotary: Rotary) -> str:
        graph = self._graph
        if not rotary.interleaved:
            return graph.node("Concat", [one, two], axis=-1)
        apart = [graph.node("Unsqueeze", [each, graph.integers([-1])]) for each in (one, two)]
        side = graph.node("Concat", apart, axis=-1)
        shape = graph.node("Concat", [graph.node("Shape", [one], end=3), graph.integers([rotary.dimensions])], axis=0)
        return graph.node("Reshape", [side, shape])

    def _part(self, x: str, first: int, last: int, step: int) -> str:
        bounds = [self._graph.integers([value]) for value in (first, last, -1, step)]
        return self._graph.node("Slice", [x, *bounds])

    def _angles(self, rotary: Rotary) -> tuple[str, str]:
        """Cosine and sine of the new positions, of shape (positions, pairs), in float32 as transformers has them."""
        if rotary not in self._turns:
            graph, number = self._graph, len(self._turns)
            places = np.arange(self._context, dtype=np.float32)
            angles = places[:, None] * np.asarray(rotary.frequencies, dtype=np.float32)
            tables = (
                graph.stored(f"rotary.{number}.{kind}", function(angles) * np.float32(rotary.factor))
                for kind, function in (("cosine", np.cos), ("sine", np.sin))
            )
            cosine, sine = (graph.node("Gather", [table, self.places()]) for table in tables)
            self._turns[rotary] = cosine, sine
        return self._turns[rotary]
