"""Operators that make no new values: what they give is what they read, somewhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...profiles.device.target import Scheme

if TYPE_CHECKING:
    import onnx_ir as ir


def moves(node: ir.Node, scheme: Scheme) -> bool:
    """Whether each of the node's results consists of values of its first input, so that one scale can pass through."""
    if node.domain != "" or node.op_type not in scheme.keep_scale or node.inputs[0] is None:
        return False
    return len(node.outputs) == 1 or node.op_type == "Split"


def interpolates(node: ir.Node) -> bool:
    """Whether a Resize makes new values between those it reads, for which runtimes go through float."""
    mode = node.attributes.get("mode")
    return node.op_type == "Resize" and mode is not None and mode.as_string() != "nearest"
