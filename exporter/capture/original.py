"""What an ONNX file computes, as onnxruntime reads it: what everything made of it is held against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Feed
from ...backends.places import GraphValues
from ...errors import InputError, VerificationError
from ...profiles.findings.parity import parity, worst
from ..graphs.files import read_model, write_model
from ..graphs.names import with_names_of_its_own
from ..graphs.single_precision import in_single_precision
from ..graphs.stored_weights import unpack_weights
from .as_given import as_given

if TYPE_CHECKING:
    import onnx_ir as ir

# Half precision rounds each value to 11 bits, and a deep network does so hundreds of times; beside integer weights
# onnxruntime may round activations.
LEAST_DB = 25.0


def in_float32(model: ir.Model) -> bool:
    """Let a model compute in float32, with weights of floats, in place; says whether it did not before."""
    unpacked = unpack_weights(model)
    return in_single_precision(model) or unpacked > 0


def original_values(path: Path, directory: Path) -> GraphValues:
    """What the file computes; in float32 where it does so in half or double precision, or stores weights in integers.

    onnxruntime has few kernels in double precision, rounds in half precision, and activations beside integer weights.

    Args:
        directory: for a copy, where one is needed.

    Raises:
        InputError: onnxruntime does not load it.
    """
    file = with_names_of_its_own(path, directory)
    model = read_model(file)
    if not in_float32(model):
        return as_given(path, directory)
    copy = directory / f"{path.stem}-float32.onnx"
    write_model(model, copy)
    return as_given(copy, directory)


def prove_float32(path: Path, directory: Path, feed: Feed) -> None:
    """Hold the float32 form of a file against the file, where onnxruntime has kernels for that.

    Raises:
        VerificationError: they do not give the same, but for the rounding of half precision.
    """
    file = with_names_of_its_own(path, directory)
    if not in_float32(read_model(file)):
        return
    try:
        given = as_given(path, directory)
    except InputError:  # no kernel in that precision
        return
    found = worst(parity([given(feed)], [original_values(path, directory)(feed)]))
    if not found.reaches(LEAST_DB):
        raise VerificationError(
            f"{path} gives other outputs in float32 than as it is: {found}.",
            hint="Export it in float32 where it was made; there may be values beyond the range of float16 in it.",
        )
