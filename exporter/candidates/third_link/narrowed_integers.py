"""Whole numbers of 64 bits that a runtime holds in fewer, as a reason why an engine strays from its graph.

Identifiers, times in milliseconds and hashes are such numbers. No layer and no precision of floats is to blame then.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....backends.base import Array, Feed
from ....backends.places.reference import GraphValues
from ....errors import VerificationError
from ....profiles.device.target import Target
from ...graphs.files import read_model
from ...graphs.values import constant, outside
from .link import StrayingError

if TYPE_CHECKING:
    import onnx_ir as ir

_WIDE = "int64"
_INFINITE = 2**62
_HINT = (
    "Let the model compute with whole numbers of that range, to which its inputs are brought before it (by a table, a "
    "remainder, an offset), or choose another target."
)


def of_narrowed(strayed: StrayingError, feeds: Iterable[Feed], target: Target) -> VerificationError | None:
    """What to refuse it with where the runtime holds int64 in fewer bits, and these feeds need more; else None."""
    narrow = target.toolchain.narrows.get(_WIDE, "")
    if not narrow:
        return None
    path = strayed.candidate.graph.path
    told = next((one for feed in feeds if (one := _beyond(path, feed, narrow))), "")
    if not told:
        return None
    why = f"{target.toolchain.name} computes {_WIDE} in {narrow}, and {told}."
    return VerificationError(f"{strayed.message} {why}", hint=_HINT)


def _beyond(path: Path, feed: Feed, narrow: str) -> str:
    """The first value of a graph that is beyond the narrower type on a feed, in words; empty where none is."""
    graph = read_model(path).graph
    held = {name: array for name, value in graph.initializers.items() if (array := constant(value)) is not None}
    for what, arrays in (("input", feed), ("the constant", held)):
        for name, array in arrays.items():
            if (number := _too_large(array, narrow)) is not None:
                return f"{what} {name!r} has {number}"
    made = {str(node.outputs[0].name): node for node in graph if _may_be_wide(node)}
    inner = [name for name, node in made.items() if not node.outputs[0].is_graph_output()]
    with GraphValues(path, inner, kernels="float") as values:
        found = values(feed, list(made))
    for name, node in made.items():
        if (number := _too_large(found[name], narrow)) is not None:
            return f"the result of {node.name!r} ({node.op_type}) has {number}"
    return ""


def _too_large(array: Array, narrow: str) -> int | None:
    """Of whole numbers of 64 bits; a sequence, which is a list, has none.

    What lies near the ends of 64 bits is an infinity that was cast, which a Where behind it leaves out.
    """
    if not isinstance(array, np.ndarray) or array.dtype != _WIDE:
        return None
    whole = array.astype(np.int64, copy=False)
    return outside(whole[(whole > -_INFINITE) & (whole < _INFINITE)], narrow)


def _may_be_wide(node: ir.Node) -> bool:
    """Whether its result is of 64 bits, or of a type that the file does not say."""
    result = node.outputs[0]
    return bool(result.name) and (result.dtype is None or result.dtype.name == "INT64")
