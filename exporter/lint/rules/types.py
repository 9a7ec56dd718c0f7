"""Element types that the target's parser does not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examined import Examined, found_at
from ..finding import Finding
from ..qdq import DEQUANTIZE, QUANTIZE

if TYPE_CHECKING:
    import onnx_ir as ir

# ONNX's names of types that numpy, and with it a toolchain, calls otherwise.
_NUMPY = {"float": "float32", "double": "float64"}


def find(examined: Examined) -> Iterator[Finding]:
    """Inputs, constants and results of types that the toolchain does not list; nothing where it lists none."""
    tools = examined.target.toolchain
    if not tools.types or examined.own_parser:
        return
    for value in examined.model.graph.inputs:
        yield from _judged(examined, None, value)
    seen: set[ir.Value] = set()
    for node in examined.model.graph.all_nodes():
        if node.op_type in (QUANTIZE, DEQUANTIZE):  # what they round to is the rule `integers`
            continue
        if tools.operators and node.op_type not in tools.operators:  # the rule `operators`
            continue
        for value in (*(v for v in node.inputs if v is not None and v.const_value is not None), *node.outputs):
            if value not in seen:
                seen.add(value)
                yield from _judged(examined, node, value)


def _judged(examined: Examined, node: ir.Node | None, value: ir.Value) -> Iterator[Finding]:
    tools = examined.target.toolchain
    kind = "" if value.dtype is None else value.dtype.name.lower()
    kind = _NUMPY.get(kind, kind)
    if kind and kind != "undefined" and kind not in tools.types:
        yield found_at(
            node,
            "error",
            f"{value.name} is {kind}, which the parser of {tools.name} does not read",
            remedy=f"Cast it before the export to one of {', '.join(tools.types)}.",
            source=tools.source,
        )
