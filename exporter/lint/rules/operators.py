"""Operators that the target's parser does not have."""

from __future__ import annotations

from collections.abc import Iterator

from ...graphs.opsets import is_defined, is_onnx
from ..examined import Examined, found_at
from ..finding import Finding


def find(examined: Examined) -> Iterator[Finding]:
    """Nodes that are none of the operators which the toolchain lists; nothing where it lists none.

    What the file's own opset does not have is the rule `defined`.
    """
    tools = examined.target.toolchain
    if not tools.operators or examined.own_parser:
        return
    own = {(name.domain, name.name) for name in examined.model.functions.values()}
    for node in examined.model.graph.all_nodes():
        if node.op_type in tools.operators or (node.domain, node.op_type) in own:
            continue
        if is_onnx(node.domain) and not is_defined(node.op_type, examined.opset):
            continue
        yield found_at(
            node,
            "error",
            f"the parser of {tools.name} has no {node.domain + ':' if node.domain else ''}{node.op_type}",
            remedy="Replace it in the model, export at an older opset, or name newer software: TARGET@TOOLCHAIN; "
            "a plugin of that name on the device would do as well.",
            source=tools.source,
        )
