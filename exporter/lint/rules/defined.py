"""Operators that the file's own opset does not have."""

from __future__ import annotations

from collections.abc import Iterator

from ...graphs.opsets import first_opset, is_defined, is_onnx
from ..examined import Examined, found_at
from ..finding import Finding

SOURCE = "The operators of ONNX and the opsets that have them, onnx.defs of the installed onnx package."


def find(examined: Examined) -> Iterator[Finding]:
    """Nodes of ONNX's own domain that are not defined there: no runtime can know what they mean."""
    for node in examined.model.graph.all_nodes():
        if is_onnx(node.domain) and not is_defined(node.op_type, examined.opset):
            said, remedy = _known(node.op_type, examined.opset)
            yield found_at(node, "error", said, remedy=remedy, source=SOURCE)


def _known(operator: str, opset: int) -> tuple[str, str]:
    """Where an operator is known, and what to do."""
    first = first_opset(operator)
    if first > opset:
        return f"opset {opset} has no {operator}, which opset {first} brought", f"Export at opset {first} or later."
    ended = "it ended with an earlier one" if first else "nor has any other that is known here"
    return f"opset {opset} has no {operator}, {ended}", "Replace the operator in the model."
