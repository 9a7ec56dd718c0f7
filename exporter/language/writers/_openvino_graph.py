"""The steps of a decoder in OpenVINO's operators, in the shapes that its CPU plugin fuses.

A norm becomes one kernel where it is power, mean, root and two products; a product with integers runs on the integers
where they are a constant, converted, less zero, times scale, reshaped and converted once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....backends._vendor import import_or_explain
from ..decoder import Activation, Attention, Decoder, Linear, Norm
from ..network import Writer
from ..weights import DecoderWeights, Integers, Matrix
from ._openvino_attention import Attending
from ._openvino_packing import PackedConstants, pack
from ._openvino_store import ConstantStore

Value = Any  # an output of a node


class OpenVinoWriter(Writer[Value]):
    """Builds the graph of one decoder; its weights go to the store as they are met.

    Attributes:
        inputs: parameters by name, those that the decoder needs.
        integers: a matrix was in integers.
    """

    def __init__(self, decoder: Decoder, weights: DecoderWeights, store: ConstantStore) -> None:
        self._ops = import_or_explain("openvino.opset15")
        self._decoder, self._weights, self._store = decoder, weights, store
        self._tables: tuple[Value, ...] = ()
        self.integers = False
        self.inputs = _inputs(self._ops, decoder)
        self._attending = Attending(self._ops, self.inputs, self._norm)

    @property
    def sinks(self) -> list[Any]:
        """What keeps the cache from one run to the next."""
        return self._attending.sinks

    def embed(self, decoder: Decoder) -> Value:
        """A row a token of the table, which stays in integers where it is: rows are turned into floats when taken."""
        ops = self._ops
        self._tables = self._matrix("embedding", self._weights.table(), decoder.width)
        rows = ops.convert(self.inputs["input_ids"], np.int32)
        parts = [ops.gather(table, rows, _i(0, np.int32)) for table in self._tables]
        x = parts[0] if len(parts) == 1 else ops.concat(parts, -1)
        if decoder.embedding_scale != 1:
            x = self.scale(x, decoder.embedding_scale)
        return x if decoder.positions is None else ops.add(x, self._positions(decoder))

    def _positions(self, decoder: Decoder) -> Value:
        ops = self._ops
        assert decoder.positions is not None
        table = self._store.constant("positions", self._weights.array(decoder.positions))
        at = ops.add(self.inputs["position_ids"], _i(decoder.position_offset))
        return ops.gather(table, ops.convert(at, np.int32), _i(0, np.int32))

    def norm(self, x: Value, norm: Norm) -> Value:
        return self._norm(x, norm)

    def _norm(self, x: Value, norm: Norm) -> Value:
        ops = self._ops
        if norm.kind == "layer":
            normed = ops.mvn(x, _i([-1]), normalize_variance=True, eps=norm.epsilon, eps_mode="inside_sqrt")
        else:
            mean = ops.reduce_mean(ops.power(x, _f(2.0)), _i([-1]), keep_dims=True)
            root = ops.sqrt(ops.add(mean, _f(norm.epsilon)))
            normed = ops.multiply(x, ops.divide(_f(1.0), root))
        if norm.weight is not None:
            normed = ops.multiply(normed, self._vector(f"{norm.name}.weight", norm.weight))
        if norm.bias is not None:
            normed = ops.add(normed, self._vector(f"{norm.name}.bias", norm.bias))
        return normed

    def linear(self, x: Value, linear: Linear) -> Value:
        tied = linear is self._decoder.head and self._decoder.tied
        weight = self._tables if tied else self._matrix(linear.name, self._weights.matrix(linear), linear.inputs)
        y = self._product(x, weight)
        return y if linear.bias is None else self._ops.add(y, self._vector(f"{linear.name}.bias", linear.bias))

    def _product(self, x: Value, weight: tuple[Value, ...]) -> Value:
        ops = self._ops
        if len(weight) == 1:
            return ops.matmul(x, weight[0], False, True)
        # A row whose blocks do not fill it is two matrices side by side.
        whole = weight[0].get_output_shape(0)[1]
        parts = [(0, whole), (whole, np.iinfo(np.int64).max)]
        sums = [
            ops.matmul(ops.slice(x, _i([start]), _i([stop]), _i([1]), _i([-1])), part, False, True)
            for (start, stop), part in zip(parts, weight, strict=True)
        ]
        return ops.add(*sums)

    def _matrix(self, name: str, matrix: Matrix, inputs: int) -> tuple[Value, ...]:
        """The matrix in float32 of shape (outputs, inputs), in one part or two."""
        if not isinstance(matrix, Integers):
            return (self._store.constant(f"{name}.weight", matrix),)
        self.integers = True
        parts = pack(name, matrix)
        return tuple(self._restored(f"{name}.{index}" if index else name, part) for index, part in enumerate(parts))

    def _restored(self, name: str, part: PackedConstants) -> Value:
        ops, store = self._ops, self._store
        x = ops.convert(store.constant(f"{name}.codes", part.codes, part.kind, part.shape), np.float16)
        if part.zeros is not None:
            zeros = store.constant(f"{name}.zeros", part.zeros, part.kind, part.scales.shape)
            x = ops.subtract(x, ops.convert(zeros, np.float16))
        x = ops.multiply(x, store.constant(f"{name}.scales", part.scales))
        if len(part.shape) > 2:
            x = ops.reshape(x, _i([part.shape[0], part.columns]), False)
        return ops.convert(x, np.float32)

    def attend(self, query: Value, key: Value, value: Value, attention: Attention, index: int) -> Value:
        return self._attending(query, key, value, attention, index)

    def activate(self, x: Value, kind: Activation) -> Value:
        ops = self._ops
        if kind == "silu":
            return ops.swish(x)
        if kind in ("gelu", "gelu_tanh"):
            return ops.gelu(x, "erf" if kind == "gelu" else "tanh")
        positive = ops.relu(x)
        return positive if kind == "relu" else ops.multiply(positive, positive)

    def multiply(self, x: Value, y: Value) -> Value:
        return self._ops.multiply(x, y)

    def add(self, x: Value, y: Value) -> Value:
        return self._ops.add(x, y)

    def scale(self, x: Value, factor: float) -> Value:
        return self._ops.multiply(x, _f(factor))

    def cap(self, x: Value, softcap: float) -> Value:
        return self.scale(self._ops.tanh(self.scale(x, 1 / softcap)), softcap)

    def _vector(self, name: str, tensor: Any) -> Value:
        return self._store.constant(name, self._weights.array(tensor))


def _inputs(ops: Any, decoder: Decoder) -> dict[str, Any]:
    """The inputs as other exporters call them; positions only where they are looked at."""
    turned = any(layer.attention.rotary is not None for layer in decoder.layers)
    names = ["input_ids", "attention_mask"]
    names += ["position_ids"] if turned or decoder.positions is not None else []
    made = {name: ops.parameter([-1, -1], np.int64, name=name) for name in names}
    made["beam_idx"] = ops.parameter([-1], np.int32, name="beam_idx")
    for name, node in made.items():
        node.output(0).get_tensor().set_names({name})
    return made


def _i(value: Any, dtype: Any = np.int64) -> Any:
    return import_or_explain("openvino.opset15").constant(np.array(value, dtype))


def _f(value: float) -> Any:
    return import_or_explain("openvino.opset15").constant(np.array(value, np.float32))
