"""Faults of a file that onnx's checker refuses and runtimes mend when they load it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from .group_norm import OPERATOR, spell_group_norms
from .inferred import infer_shapes
from .order import unmade

if TYPE_CHECKING:
    import onnx_ir as ir


def _need_makers(model: ir.Model, path: Path) -> None:
    """A model in memory has its nodes in order, where all that they read is made."""
    if lost := next(unmade(model.graph), None):
        raise InputError(f"{path} is not a valid ONNX model: {lost}.", hint="Connect it, or export the model again.")


def _spelled(model: ir.Model, path: Path) -> None:
    """The older meaning is deprecated in its own opset."""
    spell_group_norms(model)


def _shaped(model: ir.Model, path: Path) -> None:
    """Outputs have the shapes that follow from the inputs'.

    Raises:
        InputError: an input has none.
    """
    from onnx_ir.passes import common

    common.RemoveInitializersFromInputsPass()(model)
    if unshaped := [repr(value.name) for value in model.graph.inputs if value.shape is None]:
        raise InputError(
            f"{path}: input {', '.join(unshaped)} has no shape, not even a number of axes.",
            hint="Write it into the file, with names for free axes, as onnx.tools.update_model_dims does or an export "
            "with the input's shape.",
        )
    infer_shapes(model)


# By what the checker says.
MENDS: Mapping[str, Callable[[ir.Model, Path], None]] = {
    "must be topologically sorted": _need_makers,
    f"{OPERATOR} is deprecated": _spelled,
    "is required but missing": _shaped,
}
