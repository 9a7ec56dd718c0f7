"""The steps of a decoder in the operators of onnxruntime: `com.microsoft` where it has faster ones than ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..decoder import Activation, Attention, Decoder, Linear, Norm, Rotary, Tensor
from ..weights import DecoderWeights
from ._genai_matrices import Matrices, StoredMatrix
from ._genai_positions import TOKENS, Positions
from ._onnx_graph import MICROSOFT, GraphFile


class GenaiWriter:
    """Writes nodes and weights; `network.Writer` says what each step means.

    Two steps wait until it is known who takes their values. A sum goes into the norm that reads it, as one operator of
    both; query, key and value become one product where they share a grid.

    The head is computed of the last token alone unless more are asked for: of 1,024 tokens and 49,152 words all logits
    would be 200 MB, of which a text that is written takes one row.

    Args:
        accuracy: `accuracy_level` of products with integers.
        advance: told how many weights were written, as they are.
    """

    def __init__(
        self, decoder: Decoder, weights: DecoderWeights, graph: GraphFile, accuracy: int, advance: Callable[[int], None]
    ) -> None:
        self._decoder, self._weights, self._graph = decoder, weights, graph
        self._matrices = Matrices(weights, graph, accuracy, advance)
        self._positions = Positions(graph, decoder.context)
        self._sums: dict[str, tuple[str, str]] = {}
        self._asked: dict[str, tuple[str, Linear]] = {}
        attentions = [layer.attention for layer in decoder.layers]
        self._waiting = {linear.name for each in attentions for linear in (each.query, each.key, each.value)}
        self._table: StoredMatrix | None = None

    def embed(self, decoder: Decoder) -> str:
        """Rows of the table, from integers or floats."""
        self._table = self._matrices.store("embedding.weight", self._weights.table())
        x = self._matrices.rows(self._table, TOKENS, "embedding", shared=decoder.tied)
        if decoder.embedding_scale != 1:
            x = self.scale(x, decoder.embedding_scale)
        if decoder.positions is None:
            return x
        table = self._graph.stored("positions.weight", self._weights.array(decoder.positions))
        places = self._graph.node("Gather", [table, self._positions.ids(decoder.position_offset)], name="positions")
        return self.add(x, places)

    def norm(self, x: str, norm: Norm) -> str:
        """The norm, with the sum that it reads where one waits."""
        weights = self._norm_weights(norm, self._decoder.width)
        if (terms := self._sums.pop(x, None)) is None:
            return self._plain_norm(x, norm, weights)
        operator = "SkipSimplifiedLayerNormalization" if norm.kind == "rms" else "SkipLayerNormalization"
        return self._graph.node(
            operator,
            [*terms, *weights],
            name=norm.name,
            outputs=[norm.name, "", "", x],
            domain=MICROSOFT,
            epsilon=norm.epsilon,
        )

    def linear(self, x: str, linear: Linear) -> str:
        """The product; those that attention takes wait for it."""
        x = self._told(x)
        if linear.name in self._waiting:
            self._asked[linear.name] = (x, linear)
            return linear.name
        if linear != self._decoder.head:
            return self._matrices.linear(x, linear)
        return self._matrices.linear(self._positions.last(x), linear, self._table if self._decoder.tied else None)

    def settle(self) -> None:
        """Write what waited for the last matrix."""
        self._matrices.settle()

    def attend(self, query: str, key: str, value: str, attention: Attention, index: int) -> str:
        """GroupQueryAttention on the cache of the layer."""
        name = f"layers.{index}.attention"
        rotary = attention.rotary if turns_itself(attention) else None
        taken = self._taken([self._asked.pop(each) for each in (query, key, value)], attention, name)
        cache = [f"past_key_values.{index}.key", f"past_key_values.{index}.value"]
        turns = [] if rotary is None else self._positions.turns(rotary)
        return self._graph.node(
            "GroupQueryAttention",
            [*taken, *cache, *self._positions.lengths(), *turns],
            name=name,
            outputs=[name, f"present.{index}.key", f"present.{index}.value"],
            domain=MICROSOFT,
            num_heads=attention.heads,
            kv_num_heads=attention.kv_heads,
            scale=attention.scale,
            softcap=attention.softcap,
            local_window_size=-1 if attention.window is None else attention.window,
            do_rotary=int(rotary is not None),
            rotary_interleaved=int(rotary is not None and rotary.interleaved),
        )

    def activate(self, x: str, kind: Activation) -> str:
        """The activation; SiLU has no operator of its own."""
        x = self._told(x)
        if kind == "silu":
            return self._graph.node("Mul", [x, self._graph.node("Sigmoid", [x])])
        if kind in ("gelu", "gelu_tanh"):
            return self._graph.node("Gelu", [x], approximate="tanh" if kind == "gelu_tanh" else "none")
        x = self._graph.node("Relu", [x])
        return self._graph.node("Mul", [x, x]) if kind == "relu2" else x

    def multiply(self, x: str, y: str) -> str:
        """Value by value."""
        return self._graph.node("Mul", [self._told(x), self._told(y)])

    def add(self, x: str, y: str) -> str:
        """A sum that waits for the norm that reads it."""
        terms = (self._told(x), self._told(y))
        name = self._graph.free("sum")
        self._sums[name] = terms
        return name

    def scale(self, x: str, factor: float) -> str:
        """By a constant of the graph."""
        return self._graph.node("Mul", [self._told(x), self._graph.number(factor)])

    def cap(self, x: str, softcap: float) -> str:
        """C * tanh(x / c)."""
        return self.scale(self._graph.node("Tanh", [self.scale(x, 1 / softcap)]), softcap)

    def _told(self, x: str) -> str:
        """The value, its sum written if it waits."""
        if (terms := self._sums.pop(x, None)) is not None:
            self._graph.node("Add", terms, name=x, outputs=[x])
        return x

    def _taken(self, asked: Sequence[tuple[str, Linear]], attention: Attention, name: str) -> list[str]:
        """Query, key and value as GroupQueryAttention takes them: side by side in one, or three."""
        norms = (attention.query_norm, attention.key_norm, None)
        if not any(norms) and (attention.rotary is None or turns_itself(attention)):
            together = self._matrices.together(asked[0][0], [linear for _, linear in asked], f"{name}.all")
            if together is not None:
                return [together, "", ""]
        values = [self._matrices.linear(x, linear) for x, linear in asked]
        query, key, value = (
            value if norm is None else self._head_norm(value, norm, attention)
            for value, norm in zip(values, norms, strict=True)
        )
        if attention.rotary is None or turns_itself(attention):
            return [query, key, value]
        return [
            self._turned(query, attention.rotary, attention.heads),
            self._turned(key, attention.rotary, attention.kv_heads),
            value,
        ]

    def _turned(self, x: str, rotary: Rotary, heads: int) -> str:
        """Each head turned by position, of sizes that GroupQueryAttention does not turn."""
        return self._graph.node(
            "RotaryEmbedding",
            [x, self._positions.ids(0), *self._positions.turns(rotary)],
            domain=MICROSOFT,
            num_heads=heads,
            rotary_embedding_dim=rotary.dimensions,
            interleaved=int(rotary.interleaved),
        )

    def _head_norm(self, x: str, norm: Norm, attention: Attention) -> str:
        """The norm of each head, or of all of them at once."""
        if not attention.norm_heads:
            heads = attention.heads if norm is attention.query_norm else attention.kv_heads
            return self._plain_norm(x, norm, self._norm_weights(norm, heads * attention.head_size))
        heads_apart = self._graph.node("Reshape", [x, self._graph.integers([0, 0, -1, attention.head_size])])
        normed = self._plain_norm(heads_apart, norm, self._norm_weights(norm, attention.head_size))
        return self._graph.node("Reshape", [normed, self._graph.integers([0, 0, -1])])

    def _plain_norm(self, x: str, norm: Norm, weights: Sequence[str]) -> str:
        operator = "SimplifiedLayerNormalization" if norm.kind == "rms" else "LayerNormalization"
        return self._graph.node(operator, [self._told(x), *weights], name=norm.name, axis=-1, epsilon=norm.epsilon)

    def _norm_weights(self, norm: Norm, width: int) -> list[str]:
        """Weight, ones where it has none, and bias."""
        if norm.weight is None:
            weights = [self._graph.constant(f"ones_{width}", np.ones(width, dtype=np.float32))]
        else:
            weights = [self._stored(f"{norm.name}.weight", norm.weight)]
        return weights if norm.bias is None else [*weights, self._stored(f"{norm.name}.bias", norm.bias)]

    def _stored(self, name: str, tensor: Tensor) -> str:
        return self._graph.stored(name, self._weights.array(tensor))


def turns_itself(attention: Attention) -> bool:
    """Whether GroupQueryAttention turns queries and keys of these sizes; that of onnxruntime 1.31 refuses others."""
    rotary = attention.rotary
    return rotary is not None and attention.head_size % 16 == 0 and len(rotary.frequencies) % 8 == 0
