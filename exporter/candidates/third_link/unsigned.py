"""An engine of signed integers, for a processor that this one emulates, with its products in unsigned ones.

x86 has no kernel that multiplies two signed integers; onnxruntime computes them one by one, twenty times as slow. With
128 added to each integer of an activation and to its zero point, the same product is one that VNNI computes, and what
comes of it is the same to the bit: sums of integers are exact either way, and are scaled and rounded by the same code.
Products alone are exchanged, between conversions that are exact. What else rounds, as sums of two scales do, stays as
the engine has it, since there the last bit depends on the form.

The engine itself still answers to the golden inputs, and only what gives the same bits there stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....backends.base import Array, Engine, Feed
from ....backends.places import Place
from ....backends.places.as_written import AsWritten
from ....errors import InputError
from ....profiles.machine.environment import VNNI, this_machine
from ...capture.golden import Answers
from ...graphs.files import BESIDE, read_model, write_model
from ...graphs.names import value_names
from ...graphs.values import add_constant, constant

if TYPE_CHECKING:
    import onnx_ir as ir

# Where the zero points of the activation that is read, and of the result, are among the inputs of a product; the
# activation is the first. onnxruntime/docs/ContribOperators.md; a result without one is float.
PRODUCTS: dict[str, tuple[int, int | None]] = {
    "QLinearConv": (2, 7),
    "QLinearMatMul": (2, 7),
    "QGemm": (2, 8),
    "MatMulIntegerToFloat": (4, None),
}
SHIFT = 128
# How the engine was judged then.
UNSIGNED = (
    "; its products of signed integers were computed as unsigned ones, which give the same to the bit on golden inputs"
)


def unsigned_twin(
    engine: Engine, place: Place, feeds: Sequence[Feed], answers: Answers, scratch: Path, threads: int
) -> AsWritten | None:
    """What computes the same as an engine of signed integers, to the bit, many times as fast on this processor.

    Args:
        place: where the engine runs.
        feeds: on which the engine was run.
        answers: what it gave for them.
        scratch: an empty directory.

    Returns:
        None where there is no such thing, or where it does not give the same bits.
    """
    path = scratch / "unsigned.onnx"
    if place.evidence(engine.target) == "measured" or not VNNI.intersection(this_machine().isa):
        return None
    if not place.as_graph(engine, path):
        return None
    model = read_model(path)
    if not products_in_unsigned(model):
        return None
    shifted = scratch / "shifted.onnx"
    write_model(model, shifted, BESIDE)
    try:
        twin = AsWritten(shifted, threads)
    except InputError:
        return None
    if _same(twin, feeds, answers):
        return twin
    twin.close()
    return None


def _same(run: Callable[[Feed], dict[str, Array]], feeds: Sequence[Feed], answers: Answers) -> bool:
    """Whether what is answered is the same to the bit."""
    for feed, expected in zip(feeds, answers, strict=True):
        found = run(feed)
        if any(name not in found or not _identical(found[name], array) for name, array in expected.items()):
            return False
    return True


def _identical(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def products_in_unsigned(model: ir.Model) -> int:
    """Let products read and give unsigned integers, where they do signed ones; how many there are.

    Args:
        model: of onnxruntime's own operators, changed in place.
    """
    shifting = _Shifting(model.graph)
    return sum(shifting.take(node) for node in list(model.graph))


class _Shifting:
    """Puts conversions around products."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph, self._taken = graph, value_names(graph)
        self._unsigned: dict[ir.Value, ir.Value] = {}
        arrays = {"one": np.float32(1), "signed": np.int8(-SHIFT), "unsigned": np.uint8(0)}
        self._constants = {
            name: add_constant(graph, f"shift_{name}", np.asarray(array), self._taken) for name, array in arrays.items()
        }

    def take(self, node: ir.Node) -> bool:
        """Exchange the integers of a product; False of any other node, or one that is unsigned already."""
        if node.op_type not in PRODUCTS:
            return False
        read, given = PRODUCTS[node.op_type]
        data, zero = node.inputs[0], self._zero(node, read)
        if zero is None or data is None or constant(data) is not None:
            return False
        result = None if given is None else self._zero(node, given)
        node.replace_input_with(0, self._converted(data, node))
        node.replace_input_with(read, self._shifted(zero))
        if result is not None and given is not None:
            node.replace_input_with(given, self._shifted(result))
            self._convert_back(node)
        return True

    def _zero(self, node: ir.Node, index: int) -> ir.Value | None:
        """The signed zero point among a node's inputs."""
        value = node.inputs[index] if index < len(node.inputs) else None
        array = constant(value)
        return value if array is not None and array.dtype == np.int8 else None

    def _shifted(self, zero: ir.Value) -> ir.Value:
        array = constant(zero)
        assert array is not None
        return add_constant(
            self._graph, f"{zero.name}_unsigned", (array.astype(np.int16) + SHIFT).astype(np.uint8), self._taken
        )

    def _converted(self, value: ir.Value, reader: ir.Node) -> ir.Value:
        """The value with 128 added, which several may read."""
        if value not in self._unsigned:
            nodes = self._pair(value, "signed", "unsigned")
            self._graph.insert_before(reader, nodes)
            self._unsigned[value] = nodes[-1].outputs[0]
        return self._unsigned[value]

    def _convert_back(self, node: ir.Node) -> None:
        """Give who reads the result the signed one, under its name."""
        import onnx_ir as ir

        value = node.outputs[0]
        nodes = self._pair(value, "unsigned", "signed")
        back = nodes[-1].outputs[0]
        ir.convenience.replace_all_uses_with(value, back, replace_graph_outputs=True)
        nodes[0].replace_input_with(0, value)
        back.name, value.name = value.name, f"{value.name}_before_shift"
        back.type, back.shape = value.type, value.shape
        value.type = ir.TensorType(ir.DataType.UINT8)
        self._graph.insert_after(node, nodes)

    def _pair(self, value: ir.Value, before: str, after: str) -> list[ir.Node]:
        """From one sign to the other: to floats that are whole, and back."""
        import onnx_ir as ir

        one = self._constants["one"]
        to_float = ir.node("DequantizeLinear", [value, one, self._constants[before]])
        to_integer = ir.node("QuantizeLinear", [to_float.outputs[0], one, self._constants[after]])
        return [to_float, to_integer]
