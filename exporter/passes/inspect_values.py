"""Small questions that several passes ask of a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx_ir as ir


def constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """The array of an initializer, None for anything that is computed or fed."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def single_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads the value; None where several do, or where it leaves the graph."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def passes_scale(node: ir.Node) -> bool:
    """Whether the node has exactly one data result, so that one scale can pass through it."""
    return len(node.outputs) == 1 and node.inputs[0] is not None


def as_float32(value: float) -> npt.NDArray[np.float32]:
    """A float32 scalar."""
    return np.asarray(value, dtype=np.float32)
