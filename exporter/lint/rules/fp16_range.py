"""Constants beyond float16 on a target that computes in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....profiles.device.precision import load_precision
from ...graphs.not_numbers import PRODUCTS
from ...graphs.values import constant
from ...quantization.analysis.fp16_exceptions import LARGEST, constant_beyond
from ..examined import Examined, found_at
from ..finding import Finding
from ..qdq import DEQUANTIZE, QUANTIZE

if TYPE_CHECKING:
    import onnx_ir as ir

SOURCE = "IEEE 754-2019, binary16: the largest finite number is 65504."


def find(examined: Examined) -> Iterator[Finding]:
    """Weights that are infinite in float16 already, and constants of a float32 graph that would become so."""
    if not any(load_precision(name).storage == "float16" for name in examined.target.precisions):
        return
    seen: set[ir.Value] = set()
    values = [(node, value) for node in examined.model.graph.all_nodes() for value in _read(node) if value is not None]
    half = any(value.const_value is not None and value.const_value.dtype.name == "FLOAT16" for _, value in values)
    for node, value in values:
        array = constant(value)
        if array is None or value in seen:
            continue
        seen.add(value)
        if node.op_type in PRODUCTS and array.dtype == np.float32 and not np.isfinite(array).all():
            continue  # the rule `constants`
        if array.dtype == np.float16 and node.op_type in PRODUCTS and not np.isfinite(array).all():
            yield found_at(
                node,
                "error",
                f"its constant {value.name} is not finite in float16",
                remedy="Keep this node in float32: `edgepress export --precision fp16` finds such nodes.",
                source=SOURCE,
            )
        elif not half and (most := constant_beyond(value, array)):
            yield found_at(
                node,
                "warning",
                f"its constant {value.name} reaches {most:.3g}, and float16, in which the target may compute, ends at "
                f"{LARGEST:.0f}",
                remedy="Keep this node in float32: `edgepress export --precision fp16` finds such nodes.",
                source=SOURCE,
            )


def _read(node: ir.Node) -> Sequence[ir.Value | None]:
    """What a node reads; scales stay float32 everywhere."""
    return node.inputs[:1] if node.op_type in (QUANTIZE, DEQUANTIZE) else node.inputs
