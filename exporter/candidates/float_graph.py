"""The captured graph in a float precision."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from ...backends.base import Feed, Graph
from ...errors import VerificationError
from ...profiles.device.precision import PrecisionName, load_precision
from ..graphs.files import read_graph
from ..graphs.selection import around_selection
from ..quantization.analysis.fp16_exceptions import PRODUCTS, fp16_exceptions, holds_no_product
from ..quantization.rewrites.to_float16 import to_float16

# Golden inputs, samples, and the largest magnitudes of some values that are known of the samples.
RealFeeds: TypeAlias = tuple[Sequence[Feed], Sequence[Feed], Mapping[str, float]]
# Operators that a sentence names; a model may have hundreds.
NAMED = 5


def float_graph(
    precision: PrecisionName, reference: Graph, directory: Path, feeds: Callable[[], RealFeeds]
) -> tuple[Graph, tuple[str, ...]]:
    """The captured graph in a float precision, and notes on it.

    bf16 is a choice of the runtime: its graph is the FP32 one. In fp16, inputs and outputs keep their types, and
    operators beyond its range stay float32.

    Args:
        directory: a graph of its own is written into a directory in it.
        feeds: real inputs that show the range of every value, as `fp16_exceptions` takes them; asked for in fp16 only.

    Raises:
        VerificationError: fp16 cannot compute any of the model's products.
    """
    if load_precision(precision).storage != "float16":
        return reference, ()
    kept = {**around_selection(reference, PRODUCTS), **fp16_exceptions(reference, *feeds())}
    notes = _kept_float32(kept, reference)
    path = Path(tempfile.mkdtemp(prefix=f"{precision}-", dir=directory)) / "model.onnx"
    to_float16(reference.path, path, kept)
    return read_graph(path, reference.axes), notes


def _kept_float32(kept: Mapping[str, str], reference: Graph) -> tuple[str, ...]:
    """A sentence for the report.

    Raises:
        VerificationError: nothing that is worth float16 is left.
    """
    if not kept:
        return ()
    told = _by_reason(kept)
    if holds_no_product(reference, kept):
        raise VerificationError(
            f"float16 cannot hold the values of this model: {told}.",
            hint="Export with --precision fp32 or bf16, or scale the model's values into its range.",
        )
    return (f"{len(kept)} operators stay float32, which float16 has not the range or the digits for: {told}.",)


def _by_reason(kept: Mapping[str, str]) -> str:
    """The first names, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, why in list(kept.items())[:NAMED]:
        reasons.setdefault(why, []).append(name)
    more = f"; and {len(kept) - NAMED} more" if len(kept) > NAMED else ""
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items()) + more
