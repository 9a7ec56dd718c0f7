"""An opset that the target's parser is not known to read."""

from __future__ import annotations

from collections.abc import Iterator

from ...graphs.opsets import is_onnx, means_the_same
from ..examined import Examined, found_at
from ..finding import Finding


def find(examined: Examined) -> Iterator[Finding]:
    """One finding an operator that means another thing there; one warning where none does.

    Parsers check the number hardly or not at all: of an operator that they read by an older definition, attributes that
    became inputs are passed over, and the result is another one. Where the target's own parser is here, it is asked.
    """
    tools, given = examined.target.toolchain, examined.opset
    if examined.own_parser or given <= tools.opset:
        return
    remedy = f"Export at opset {tools.opset}, or name newer software on the device: TARGET@TOOLCHAIN."
    known = f"{tools.name} reads opset {tools.opset}"
    changed = set()
    for node in examined.model.graph.all_nodes():
        if not is_onnx(node.domain) or node.op_type in changed or means_the_same(node.op_type, given, tools.opset):
            continue
        changed.add(node.op_type)
        said = f"{node.op_type} of opset {given} is not what it is in opset {tools.opset}, and {known}"
        yield found_at(node, "error", said, remedy=remedy, source=tools.source)
    if not changed:
        said = f"the graph is of opset {given}, {known}; every operator in it means the same in both"
        yield found_at(None, "warning", said, remedy=remedy, source=tools.source)
