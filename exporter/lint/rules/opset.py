"""An opset that the target's parser is not known to read."""

from __future__ import annotations

from collections.abc import Iterator

from ....profiles.device.target import Toolchain
from ...graphs.opsets import is_defined, is_onnx, read_alike
from ..examined import Examined, found_at
from ..finding import Finding


def find(examined: Examined) -> Iterator[Finding]:
    """One error an operator of which it would read something else; one warning where there is none.

    Parsers check the number hardly or not at all: attributes that became inputs are passed over, and the result is
    another one. Where the target's own parser is here, it is asked.
    """
    tools, given = examined.target.toolchain, examined.opset
    if examined.own_parser or given <= tools.opset:
        return
    remedy = f"Export at opset {tools.opset}, or name newer software on the device: TARGET@TOOLCHAIN."
    changed = set()
    for node in examined.model.graph.all_nodes():
        if not is_onnx(node.domain) or node.op_type in changed or read_alike(node, given, tools.opset):
            continue
        changed.add(node.op_type)
        if _told_otherwise(node.op_type, given, tools):
            continue
        said = f"{node.op_type} is written as opset {given} has it, and {tools.name} reads opset {tools.opset}"
        yield found_at(node, "error", said, remedy=remedy, source=tools.source)
    if not changed:
        said = f"the graph is of opset {given}, and {tools.name} reads {tools.opset}, at which every node could be read"
        yield found_at(None, "warning", said, remedy=remedy, source=tools.source)


def _told_otherwise(operator: str, given: int, tools: Toolchain) -> bool:
    """Whether the rule `defined` or `operators` says that there is none."""
    return not is_defined(operator, given) or bool(tools.operators and operator not in tools.operators)
