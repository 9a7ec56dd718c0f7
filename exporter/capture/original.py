"""What an ONNX file computes, as onnxruntime reads it: what everything made of it is held against."""

from __future__ import annotations

from pathlib import Path

from ...backends.base import Feed
from ...backends.places import GraphValues
from ...errors import InputError, VerificationError
from ...profiles.findings.parity import parity, worst
from ..graphs.files import read_model, write_model
from ..graphs.names import with_names_of_its_own
from ..graphs.single_precision import in_single_precision
from .as_given import as_given

# Half precision rounds each value to 11 bits, and a deep network does so hundreds of times.
LEAST_DB = 25.0


def original_values(path: Path, directory: Path) -> GraphValues:
    """The file with nothing optimized; in float32 where it computes in half or double precision.

    onnxruntime has few kernels in double precision, and in half precision its rounding hides faults.

    Args:
        directory: for a copy, where one is needed.

    Raises:
        InputError: onnxruntime does not load it.
    """
    file = with_names_of_its_own(path, directory)
    model = read_model(file)
    if not in_single_precision(model):
        return as_given(path, directory)
    copy = directory / f"{path.stem}-single.onnx"
    write_model(model, copy)
    return as_given(copy, directory)


def prove_single_precision(path: Path, directory: Path, feed: Feed) -> None:
    """Hold the float32 form of a file against the file, where onnxruntime has kernels for that.

    Raises:
        VerificationError: they do not give the same, but for the rounding of half precision.
    """
    file = with_names_of_its_own(path, directory)
    if not in_single_precision(read_model(file)):
        return
    try:
        given = as_given(path, directory)
    except InputError:  # no kernel in that precision
        return
    found = worst(parity([given(feed)], [original_values(path, directory)(feed)]))
    if not found.reaches(LEAST_DB):
        raise VerificationError(
            f"{path} gives other outputs in single precision than in its own: {found}.",
            hint="Export it in float32 where it was made; there may be values beyond the range of float16 in it.",
        )
