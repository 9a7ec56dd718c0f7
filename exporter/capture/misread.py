"""What onnxruntime reads otherwise than ONNX says, so that it is no reference for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError

if TYPE_CHECKING:
    import onnx_ir as ir

_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
# Activations that onnxruntime 1.31.1 takes a number of `activation_alpha` for, in order.
_TAKES_ALPHA = frozenset({"affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu"})


def refuse_misread(model: ir.Model, path: Path) -> None:
    """Stop at a recurrent layer whose ThresholdedRelu is given no `activation_alpha`.

    ONNX gives it that of its operator, 1; onnxruntime 1.31.1 takes 0, which is Relu.

    Raises:
        InputError: there is such a layer.
    """
    for node in model.graph.all_nodes():
        if node.domain in ("", "ai.onnx") and node.op_type in _RECURRENT and _is_left_out(node):
            raise InputError(
                f"{node.op_type} {node.name or node.outputs[0].name!r} of {path} has a ThresholdedRelu without its "
                "activation_alpha: ONNX takes 1 for it, and onnxruntime 0.",
                hint="Write activation_alpha into the node, a number for each activation that has one.",
            )


def _is_left_out(node: ir.Node) -> bool:
    given, alphas = node.attributes.get("activations"), node.attributes.get("activation_alpha")
    names = [] if given is None else [name.casefold() for name in given.as_strings()]
    taking = [name for name in names if name in _TAKES_ALPHA]
    return "thresholdedrelu" in taking[0 if alphas is None else len(alphas.as_floats()) :]
