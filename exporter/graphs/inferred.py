"""Types and shapes of all values, as far as they follow from those that are declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .quiet import quiet

if TYPE_CHECKING:
    import onnx_ir as ir

_MAKE_SEQUENCES = frozenset(
    {"SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceMap", "SplitToSequence"}
)
# The first of a body's results that is one of the node.
_FIRST_RESULT = {"If": 0, "Loop": 1}


def infer_shapes(model: ir.Model, *, strict: bool = True) -> None:
    """Write them into the model, in place; it stays as it is where its declarations contradict each other.

    So do ONNX's own rules: they count a last window of a pool that no runtime has. The library logs a traceback of each
    such graph, which is no one's to read: what is wrong with a file is said by who loads it.

    Args:
        strict: check types, stop at the first contradiction, and follow values of shapes; else go as far as it goes.
    """
    import onnx_ir.serde as serde
    from onnx_ir.passes import common

    with quiet(common.ShapeInferencePass.__module__, serde.__name__):
        common.ShapeInferencePass(check_type=strict, strict_mode=strict, data_prop=strict)(model)
    _forget_sequences(model)


def _forget_sequences(model: ir.Model) -> None:
    """Of a sequence of tensors onnx_ir 1.1 writes that it is a tensor, which no runtime loads; it follows anyway."""
    import onnx_ir as ir

    for node in model.graph.all_nodes():
        for value in node.outputs:
            if isinstance(value.type, ir.TensorType) and _is_sequence(value):
                value.type = value.shape = None


def _is_sequence(value: ir.Value | None) -> bool:
    import onnx_ir as ir

    if value is None or isinstance(value.type, ir.SequenceType):
        return value is not None
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "Identity":
        return _is_sequence(node.inputs[0])
    if (first := _FIRST_RESULT.get(node.op_type)) is not None:
        bodies = (
            attribute.as_graph() for attribute in node.attributes.values() if attribute.type == ir.AttributeType.GRAPH
        )
        index = value.index()
        return index is not None and any(_is_sequence(body.outputs[first + index]) for body in bodies)
    return node.op_type in _MAKE_SEQUENCES
