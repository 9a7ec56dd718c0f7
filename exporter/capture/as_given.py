"""The ONNX file that was given, run as it is: what its capture is held against."""

from __future__ import annotations

from pathlib import Path

from ...backends.places import GraphValues, Reference
from ...backends.places.reference import Kernels
from ...errors import InputError
from ..graphs.names import with_names_of_its_own
from ..graphs.opsets import at_an_older_opset


def as_given(path: Path, directory: Path, kernels: Kernels = "plain") -> GraphValues:
    """The file open on the reference place, under an older opset of the same meaning where it is too new for that.

    Args:
        directory: for a copy, where onnxruntime wants one.
        kernels: "as written" leaves out what onnxruntime fuses.

    Raises:
        InputError: onnxruntime does not load it.
    """
    named = with_names_of_its_own(path, directory)
    try:
        return Reference().values(named, kernels=kernels)
    except InputError as error:
        older = at_an_older_opset(named, directory)
        if older is None:
            raise
        try:
            return Reference().values(older, kernels=kernels)
        except InputError:
            raise error from None
