"""The steps of a decoder in operators of the ONNX standard, for compilers that fuse for themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ....errors import UnservedError
from ..decoder import Activation, Attention, Decoder, Linear, Norm, Tensor
from ..weights import DecoderWeights, Integers, Matrix
from ._onnx_graph import GraphFile
from ._plain_attention import PlainAttention

TOKENS = "input_ids"
_INT4, _INT8 = 22, 3  # TensorProto's


class PlainWriter:
    """Writes nodes and weights; `network.Writer` says what each step means.

    Matrices lie as MatMul takes them, (inputs, outputs); integers stand behind a DequantizeLinear with one scale a
    block of inputs, or an output.

    Args:
        advance: told how many weights were written, as they are.
    """

    def __init__(
        self, decoder: Decoder, weights: DecoderWeights, graph: GraphFile, advance: Callable[[int], None]
    ) -> None:
        self._decoder, self._weights, self._graph, self._advance = decoder, weights, graph, advance
        self._attention = PlainAttention(graph, "past_key_values.0.key", TOKENS, decoder.context)
        self._table: str | None = None

    def embed(self, decoder: Decoder) -> str:
        """Rows of the table in float32, from which a tied head is turned."""
        matrix = self._weights.table()
        table = matrix.floats() if isinstance(matrix, Integers) else matrix
        self._table = self._graph.stored("embedding.weight", table)
        self._advance(table.size)
        x = self._graph.node("Gather", [self._table, TOKENS], name="embedding")
        if decoder.embedding_scale != 1:
            x = self.scale(x, decoder.embedding_scale)
        if decoder.positions is None:
            return x
        places = self._attention.places()
        if decoder.position_offset:
            places = self._graph.node("Add", [places, self._graph.integer(decoder.position_offset)])
        return self.add(x, self._graph.node("Gather", [self._stored("positions.weight", decoder.positions), places]))

    def norm(self, x: str, norm: Norm) -> str:
        """LayerNormalization, or the steps of an RMS norm, which opset 23 is the first to have in one."""
        graph = self._graph
        weight = None if norm.weight is None else self._stored(f"{norm.name}.weight", norm.weight)
        if norm.kind == "layer":
            scale = weight or graph.constant(f"ones_{self._decoder.width}", np.ones(self._decoder.width, np.float32))
            bias = [] if norm.bias is None else [self._stored(f"{norm.name}.bias", norm.bias)]
            return graph.node("LayerNormalization", [x, scale, *bias], name=norm.name, axis=-1, epsilon=norm.epsilon)
        mean = graph.node("ReduceMean", [graph.node("Mul", [x, x]), graph.integers([-1])], keepdims=1)
        root = graph.node("Sqrt", [graph.node("Add", [mean, graph.number(norm.epsilon)])])
        normed = graph.node("Div", [x, root])
        return normed if weight is None else graph.node("Mul", [normed, weight], name=norm.name)

    def linear(self, x: str, linear: Linear) -> str:
        """The product, and its bias."""
        graph = self._graph
        if linear == self._decoder.head and self._decoder.tied and self._table is not None:
            weight = graph.node("Transpose", [self._table], perm=[1, 0])
        else:
            weight = self._matrix(f"{linear.name}.weight", self._weights.matrix(linear))
            self._advance(linear.inputs * linear.outputs)
        product = graph.node("MatMul", [x, weight], name=linear.name)
        if linear.bias is None:
            return product
        return graph.node("Add", [product, self._stored(f"{linear.name}.bias", linear.bias)])

    def attend(self, query: str, key: str, value: str, attention: Attention, index: int) -> str:
        """Norms, turns, and the cache of the layer."""
        queries = self._heads(query, attention, attention.query_norm)
        keys = self._heads(key, attention, attention.key_norm)
        return self._attention.attend(queries, keys, self._heads(value, attention, None), attention, index)

    def activate(self, x: str, kind: Activation) -> str:
        """The activation."""
        if kind == "silu":
            return self._graph.node("Mul", [x, self._graph.node("Sigmoid", [x])])
        if kind in ("gelu", "gelu_tanh"):
            return self._graph.node("Gelu", [x], approximate="tanh" if kind == "gelu_tanh" else "none")
        x = self._graph.node("Relu", [x])
        return self._graph.node("Mul", [x, x]) if kind == "relu2" else x

    def multiply(self, x: str, y: str) -> str:
        """Value by value."""
        return self._graph.node("Mul", [x, y])

    def add(self, x: str, y: str) -> str:
        """Value by value."""
        return self._graph.node("Add", [x, y])

    def scale(self, x: str, factor: float) -> str:
        """By a constant."""
        return self._graph.node("Mul", [x, self._graph.number(factor)])

    def cap(self, x: str, softcap: float) -> str:
        """C * tanh(x / c)."""
        return self.scale(self._graph.node("Tanh", [self.scale(x, 1 / softcap)]), softcap)

    def _heads(self, x: str, attention: Attention, norm: Norm | None) -> str:
        """Heads apart, (batch, heads, positions, size), normed."""
        if norm is not None and not attention.norm_heads:
            x = self.norm(x, norm)
        x = self._graph.node("Reshape", [x, self._graph.integers([0, 0, -1, attention.head_size])])
        if norm is not None and attention.norm_heads:
            x = self.norm(x, norm)
        return self._graph.node("Transpose", [x], perm=[0, 2, 1, 3])

    def _matrix(self, name: str, matrix: Matrix) -> str:
        if not isinstance(matrix, Integers):
            return self._graph.stored(name, np.ascontiguousarray(matrix.T))
        rows, columns = matrix.codes.shape
        blocks, block = matrix.scales.shape[1], matrix.block
        if blocks > 1 and columns % block:
            raise UnservedError(
                f"{name} has {columns} inputs, which blocks of {block} do not divide; TensorRT takes whole ones only.",
                hint="Choose a block that divides the model's widths.",
            )
        if not (matrix.scales > 0).all():
            raise UnservedError(f"{name} has scales that are not above 0, which TensorRT's parsers refuse.")
        codes = self._codes(name, matrix)
        scales = np.ascontiguousarray(matrix.scales.T)
        if blocks == 1:
            scale = self._graph.stored(f"{name}.scales", scales.reshape(rows))
            return self._graph.node("DequantizeLinear", [codes, scale], axis=1)
        scale = self._graph.stored(f"{name}.scales", scales)
        return self._graph.node("DequantizeLinear", [codes, scale], axis=0, block_size=block)

    def _codes(self, name: str, matrix: Integers) -> str:
        """Signed codes of shape (inputs, outputs); of 4 bits two in a byte, in the order of the values."""
        signed: npt.NDArray[Any] = (matrix.codes.T.astype(np.int16) - (1 << (matrix.grid.bits - 1))).astype(np.int8)
        if matrix.grid.bits == 8:
            return self._graph.stored(name, signed, kind=_INT8)
        flat = signed.reshape(-1).view(np.uint8) & 15
        flat = np.pad(flat, (0, len(flat) % 2))
        return self._graph.stored(name, flat[0::2] | (flat[1::2] << 4), kind=_INT4, shape=signed.shape)

    def _stored(self, name: str, tensor: Tensor) -> str:
        return self._graph.stored(name, self._weights.array(tensor))
