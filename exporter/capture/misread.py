"""What onnxruntime reads otherwise than ONNX says, so that it is no reference for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError

if TYPE_CHECKING:
    import onnx_ir as ir

_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
# Activations that onnxruntime 1.31.1 takes a number of `activation_alpha` for, in order.
_TAKES_ALPHA = frozenset({"affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu"})


def refuse_misread(model: ir.Model, path: Path) -> None:
    """Stop at a node that onnxruntime computes in another way than ONNX says.

    Raises:
        InputError: there is a recurrent layer whose ThresholdedRelu is given no `activation_alpha`, or a pool that has
            dilations and pads by a word.
    """
    for node in model.graph.all_nodes():
        if node.domain not in ("", "ai.onnx"):
            continue
        named = f"{node.op_type} {node.name or node.outputs[0].name!r} of {path}"
        # ONNX gives it that of its operator, 1; onnxruntime 1.31.1 takes 0, which is Relu.
        if node.op_type in _RECURRENT and _is_left_out(node):
            raise InputError(
                f"{named} has a ThresholdedRelu without its activation_alpha: ONNX takes 1 for it, and onnxruntime 0.",
                hint="Write activation_alpha into the node, a number for each activation that has one.",
            )
        # ONNX: as many places as the size over the stride; onnxruntime 1.31.1 pads as if there were no dilations.
        if node.op_type in _POOLS and _is_dilated_by_a_word(node):
            raise InputError(
                f"{named} has dilations and the auto_pad {node.attributes['auto_pad'].as_string()}: ONNX pads for the "
                "dilated window, and onnxruntime for the plain one, which gives other sizes.",
                hint="Write its pads as numbers (auto_pad NOTSET, and pads) where the model was made.",
            )


def _is_left_out(node: ir.Node) -> bool:
    given, alphas = node.attributes.get("activations"), node.attributes.get("activation_alpha")
    names = [] if given is None else [name.casefold() for name in given.as_strings()]
    taking = [name for name in names if name in _TAKES_ALPHA]
    return "thresholdedrelu" in taking[0 if alphas is None else len(alphas.as_floats()) :]


def _is_dilated_by_a_word(node: ir.Node) -> bool:
    """Of an axis that its window is longer than one on."""
    word, apart, kernel = (node.attributes.get(name) for name in ("auto_pad", "dilations", "kernel_shape"))
    if word is None or apart is None or kernel is None or not word.as_string().startswith("SAME"):
        return False
    return any(step > 1 and size > 1 for step, size in zip(apart.as_ints(), kernel.as_ints(), strict=False))
