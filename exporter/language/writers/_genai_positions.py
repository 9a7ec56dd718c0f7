"""Where tokens are, by the attention mask: lengths for GroupQueryAttention, positions, turns, and the last ones."""

from __future__ import annotations

import numpy as np

from ..decoder import Rotary
from ._onnx_graph import GraphFile

MASK, TOKENS = "attention_mask", "input_ids"
# How far before the last token of each row those are whose logits are asked for: an input that need not be given.
BEFORE_LAST = "before_last"


class Positions:
    """Nodes and tables that are there once, however many layers read them.

    Args:
        context: how many positions there are at most.
    """

    def __init__(self, graph: GraphFile, context: int) -> None:
        self._graph, self._context = graph, context
        self._turns: dict[Rotary, list[str]] = {}
        self._lengths: list[str] = []
        self._places: tuple[str, ...] = ()
        self._ids: dict[int, str] = {}

    def lengths(self) -> list[str]:
        """The last position of each row, and how many there are in all, both int32."""
        if not self._lengths:
            counts = self._graph.node("ReduceSum", [MASK, self._graph.integers([1])], keepdims=0)
            last = self._graph.node("Sub", [counts, self._graph.integers([1])])
            length = self._graph.node("Gather", [self._graph.node("Shape", [MASK]), self._graph.integer(1)])
            self._places = (last, length)
            self._lengths = [self._graph.node("Cast", [value], to=_INT32) for value in self._places]
        return self._lengths

    def last(self, x: str) -> str:
        """Of values of shape (batch, positions, width) those of the last token of each row, or of more where asked.

        A row that is filled up on the right has its last token before that; in decoding it has one like all others.
        """
        graph = self._graph
        self.lengths()
        last = graph.node("Reshape", [graph.node("Sub", self._places), graph.integers([-1, 1, 1])])
        before = graph.asked(BEFORE_LAST, np.zeros((1, 1), dtype=np.int64), ("kept", 1))
        first = graph.node("Neg", [graph.node("Shape", [TOKENS], start=1, end=2)])
        # From the end, where the last one is -1.
        places = graph.node("Max", [graph.node("Sub", [last, before]), first])
        return graph.node("GatherND", [x, places], batch_dims=1)

    def ids(self, offset: int) -> str:
        """The position of each token, of shape (batch, positions), and an offset."""
        if offset not in self._ids:
            self._ids[offset] = self._new_ids(offset)
        return self._ids[offset]

    def _new_ids(self, offset: int) -> str:
        seen = self._graph.node("CumSum", [MASK, self._graph.integer(1)])
        count = self._graph.node("Shape", [TOKENS], start=1, end=2)
        first = self._graph.node("Neg", [count])
        end = self._graph.integers([np.iinfo(np.int64).max])
        latest = self._graph.node("Slice", [seen, first, end, self._graph.integers([1])])
        return self._graph.node("Add", [latest, self._graph.integer(offset - 1)])

    def turns(self, rotary: Rotary) -> list[str]:
        """Cosine and sine by position and pair, in the float32 arithmetic of transformers."""
        if rotary not in self._turns:
            places = np.arange(self._context, dtype=np.float32)
            angles = places[:, None] * np.asarray(rotary.frequencies, dtype=np.float32)
            number = len(self._turns)
            self._turns[rotary] = [
                self._graph.stored(f"rotary.{number}.{kind}", function(angles) * np.float32(rotary.factor))
                for kind, function in (("cosine", np.cos), ("sine", np.sin))
            ]
        return self._turns[rotary]


_INT32 = 6  # TensorProto.INT32
