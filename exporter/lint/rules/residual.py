"""Q/DQ at the Add that closes a residual branch, where it keeps the runtime from fusing the two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...graphs.values import single_consumer
from ..examined import Examined, found_at
from ..finding import Finding
from ..qdq import QUANTIZE, dequantizer, in_integers

if TYPE_CHECKING:
    import onnx_ir as ir

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


def find(examined: Examined) -> Iterator[Finding]:
    """Adds whose convolutions are all rounded, where one must not be; or not all, where all must be.

    Where every convolution needs a quantized result, the rule `result` says so.
    """
    scheme = examined.target.scheme
    if scheme is None or scheme.residual == "none":
        return
    for node in examined.model.graph.all_nodes():
        if node.op_type != "Add" or len(node.inputs) != 2:
            continue
        plain = [_convolution(value) for value in node.inputs]
        rounded = [_convolution(_behind(value)) for value in node.inputs]
        if scheme.residual == "skip" and not any(plain) and any(rounded) and all(map(dequantizer, node.inputs)):
            yield found_at(
                node,
                "warning",
                f"the convolution {_name(rounded)} is quantized between itself and this Add, which keeps {scheme.name} "
                "from fusing the two",
                remedy="Quantize the other branch only.",
                source=scheme.source,
            )
        elif (
            scheme.residual == "both" and not scheme.result_needed and any(plain) and any(map(dequantizer, node.inputs))
        ):
            yield found_at(
                node,
                "warning",
                f"the convolution {_name(plain)} goes into this Add in float, beside a quantized branch: "
                f"{scheme.name} fuses the two only where both are quantized",
                remedy="Quantize the result of the convolution as well.",
                source=scheme.source,
            )


def _convolution(value: ir.Value | None) -> ir.Node | None:
    """The quantized convolution that only this value's one reader reads."""
    node = None if value is None else value.producer()
    if node is None or value is None or node.op_type not in CONVOLUTIONS or not in_integers(node):
        return None
    return node if single_consumer(value) is not None else None


def _behind(value: ir.Value | None) -> ir.Value | None:
    """What a Q/DQ pair rounds."""
    node = dequantizer(value)
    data = None if node is None else node.inputs[0]
    producer = None if data is None else data.producer()
    return producer.inputs[0] if producer is not None and producer.op_type == QUANTIZE else None


def _name(nodes: list[ir.Node | None]) -> str:
    return next(node.name or "before it" for node in nodes if node is not None)
