"""Whole numbers of 64 bits, which OpenVINO's CPU computes in 32 and wraps around."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._onnxfile import Node
from ..base import TensorSpec

_WIDE = frozenset({"int64", "uint64", "uint32"})
# What a model does to numbers that may be of any size, such as hashes and times; a place in a table never is.
_OF_ANY_SIZE = frozenset({"Mod", "Div", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor"})


def short_integers(nodes: Sequence[Node], inputs: Sequence[TensorSpec]) -> Iterator[str]:
    """What to know of inputs whose large numbers the engine would take for others."""
    wide = [spec.name for spec in inputs if spec.dtype in _WIDE]
    reads = {name: node.label for node in nodes if node.operator in _OF_ANY_SIZE for name in node.inputs}
    if told := [f"{name!r} (read by {reads[name]})" for name in wide if name in reads]:
        yield (
            f"OpenVINO computes whole numbers in 32 bits: input {', '.join(told)} may not go beyond 2,147,483,647. "
            "A target of onnxruntime, such as server-cpu, has all 64."
        )
