"""Where a graph makes NaN or Inf of finite values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...backends.base import Array, Feed
from ...backends.places import GraphValues
from ...errors import InputError, VerificationError
from ...profiles.findings.parity import NotFiniteError
from .files import read_model
from .values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

# Values that are fetched in one run: all at once would hold every activation of the model.
_AT_ONCE = 32
_FLOATS = frozenset({"FLOAT", "FLOAT16", "DOUBLE"})
_OF_ZERO = "a constant is added that float32 holds beside its argument, as 1e-6, or torch.clamp keeps it from 0"
_ELSEWHERE = "onnxruntime finds every value inside of its graph finite: it is the engine's runtime that does not."
_OTHERWISE = "Else leave the layers before it in float with --exclude, or ship another precision with --precision."
# What keeps an operator finite.
_KEPT = {
    "Log": f"A logarithm of 0 is infinite, of less it is NaN: {_OF_ZERO}.",
    "Div": f"A quotient by 0 is none: {_OF_ZERO}.",
    "Reciprocal": f"A quotient by 0 is none: {_OF_ZERO}.",
    "Pow": f"A power of 0 may be infinite, of less NaN: {_OF_ZERO}.",
    "Sqrt": "The root of less than 0 is NaN, as rounding makes of a difference: torch.clamp(min=0) keeps it from that.",
    "Exp": "An exponential overflows from 88 up in float32: torch.clamp keeps it below.",
    "Softmax": "Where all scores of a row are masked by -inf, nothing is left to divide by: mask with -1e4.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFinite:
    """The first node, in order, whose inputs are finite and whose result is not.

    Attributes:
        node: its name.
        operator: its operator.
    """

    node: str
    operator: str

    def __str__(self) -> str:
        return f"The first node that makes NaN or Inf of finite values is {self.node!r} ({self.operator})."

    @property
    def remedy(self) -> str:
        """What keeps it finite, in a sentence; empty where nothing is known."""
        return _KEPT.get(self.operator, "")


@contextmanager
def told_where(path: Path, feeds: Sequence[Feed]) -> Iterator[None]:
    """Inside, NaN or Inf of a candidate where its reference is finite is told with the node that makes it.

    Args:
        path: the candidate's graph.
        feeds: that it answered, in the order in which they are compared.

    Raises:
        VerificationError: in place of NotFiniteError.
    """
    try:
        yield
    except NotFiniteError as error:
        try:
            seen = not_finite(path, feeds[error.feed])
        except InputError:  # onnxruntime does not take it with its values shown
            raise error from None
        told = _ELSEWHERE if seen is None else str(seen)
        remedy = (error.hint or "") if seen is None else seen.remedy
        raise VerificationError(f"{error.message} {told}", hint=f"{remedy} {_OTHERWISE}".strip()) from error


def not_finite(path: Path, feed: Feed) -> NotFinite | None:
    """Run a graph with its inner values shown, on the reference place; None where every value is finite there.

    Args:
        feed: on which it is not.

    Raises:
        InputError: onnxruntime does not load the graph.
    """
    graph = read_model(path).graph
    nodes = [(name, node) for node in graph if (name := _result(node)) is not None]
    finite: dict[str, bool] = {name: _is_finite(array) for name, array in feed.items()}
    for start in range(0, len(nodes), _AT_ONCE):
        some = nodes[start : start + _AT_ONCE]
        finite |= {name: _is_finite(array) for name, array in _values(path, graph, [name for name, _ in some], feed)}
        for name, node in some:
            if not finite[name] and all(_input_is_finite(value, finite) for value in node.inputs):
                return NotFinite(node=str(node.name), operator=node.op_type)
    return None


def _result(node: ir.Node) -> str | None:
    """The name of what a node computes, where that is of floats."""
    value = node.outputs[0] if node.outputs else None
    if value is None or not value.name or value.dtype is None or value.dtype.name not in _FLOATS:
        return None
    return value.name


def _values(path: Path, graph: ir.Graph, names: list[str], feed: Feed) -> Iterator[tuple[str, Array]]:
    own = {str(value.name) for value in graph.outputs}
    with GraphValues(path, [name for name in names if name not in own]) as values:
        yield from values(feed, names).items()


def _input_is_finite(value: ir.Value | None, finite: dict[str, bool]) -> bool:
    """Whether it is; what is not shown, as integers, is."""
    if value is None:
        return True
    array = constant(value)
    return finite.get(str(value.name), True) if array is None else _is_finite(array)


def _is_finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
