"""Quantized operators that the target's scheme leaves float for a reason."""

from __future__ import annotations

from collections.abc import Iterator

from ...graphs.values import sizes
from ..examined import Examined, found_at
from ..finding import Finding, Severity
from ..qdq import in_integers, stored_shape


def find(examined: Examined) -> Iterator[Finding]:
    """An error where the runtime's integer kernel is wrong, a warning where it has none."""
    scheme = examined.target.scheme
    if scheme is None:
        return
    for node in examined.model.graph.all_nodes():
        shape = stored_shape(node)
        if shape is None or not in_integers(node):
            continue
        if (left := scheme.left_as(node.op_type, shape, sizes(node.inputs[0]))) is not None:
            severity: Severity = "error" if left.wrong else "warning"
            reason = " ".join(left.reason.split())
            remedy = "Leave this layer float; `edgepress export` does."
            yield found_at(node, severity, reason, remedy=remedy, source=scheme.source)
