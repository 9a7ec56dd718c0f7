"""Reductions that the target's runtime fuses with what follows, and computes wrongly."""

from __future__ import annotations

from collections.abc import Iterator

from ...quantization.rewrites.extremes_apart import quantized_extremes
from ...quantization.rewrites.keep_reduced import misfused
from ..examined import Examined, found_at
from ..finding import Finding


def find(examined: Examined) -> Iterator[Finding]:
    """Those that drop axes before a QuantizeLinear, with constants a channel on the way, and quantized extremes."""
    scheme = examined.target.scheme
    if scheme is None:
        return
    for node in misfused(examined.model.graph, scheme.keep_reduced):
        yield found_at(
            node,
            "error",
            f"it drops axes before a quantization, and {scheme.name} takes the wrong channels' constants for it",
            remedy="Keep the axes (keepdims=1) and drop them with a Squeeze behind; `edgepress export` does.",
            source=scheme.source,
        )
    for node in quantized_extremes(examined.model.graph, scheme.extremes_apart):
        yield found_at(
            node,
            "error",
            f"its result is quantized, where {scheme.name} keeps what it finds on the way in integers",
            remedy="Put a CumSum along an axis that it reduces behind it (keepdims=1); `edgepress export` does.",
            source=scheme.source,
        )
