"""Numbers of 64 bits on a target whose parser makes 32 of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...graphs.values import constant, outside
from ..examined import Examined, found_at
from ..finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir


def find(examined: Examined) -> Iterator[Finding]:
    """Integers beyond the narrower type, each an error; floats that lose digits, one warning a graph.

    The least and the largest integer of 64 bits are how exporters write "to the end": clamped they say the same.
    """
    tools = examined.target.toolchain
    if not tools.narrows or examined.own_parser:
        return
    seen: set[ir.Value] = set()
    told = False
    for node in examined.model.graph.all_nodes():
        for value in node.inputs:
            kind = _kind(value)
            narrow = tools.narrows.get(kind, "")
            if not narrow or value is None or value in seen:
                continue
            seen.add(value)
            if kind.startswith("int") and (beyond := _beyond(value, narrow)):
                yield found_at(
                    node,
                    "error",
                    f"its constant {value.name} holds {beyond}, and {tools.name} clamps {kind} to {narrow}",
                    remedy=f"Compute with numbers that {narrow} holds.",
                    source=tools.source,
                )
            elif kind.startswith("float") and not told:
                told = True
                yield found_at(
                    node,
                    "warning",
                    f"it reads {value.name} in {kind}, which {tools.name} rounds to {narrow}",
                    remedy="Make sure that the model does not need them, or compute in float32 in the model.",
                    source=tools.source,
                )


def _kind(value: ir.Value | None) -> str:
    """The type of a value as numpy calls it; empty where it is not known."""
    name = "" if value is None or value.dtype is None else value.dtype.name
    return {"DOUBLE": "float64", "INT64": "int64", "UINT64": "uint64"}.get(name, "")


def _beyond(value: ir.Value, narrow: str) -> int | None:
    array = constant(value)
    return None if array is None else outside(array, narrow)
