"""What an ONNX file computes, as onnxruntime reads it: what everything made of it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Array, Feed
from ...backends.places import GraphValues
from ...errors import InputError, VerificationError
from ...profiles.findings.parity import parity, worst
from ..graphs.files import read_model, write_model
from ..graphs.names import with_names_of_its_own
from ..graphs.single_precision import in_single_precision
from ..graphs.stored_weights import unpack_weights
from .as_given import as_given
from .misread import refuse_misread

if TYPE_CHECKING:
    import onnx_ir as ir

# Half precision rounds each value to 11 bits, and a deep network does so hundreds of times; beside integer weights
# onnxruntime may round activations.
LEAST_DB = 25.0


def in_float32(model: ir.Model) -> bool:
    """Let a model compute in float32, with weights of floats, in place; says whether it did not before.

    Functions of the file's own are put where they are called: they may hold both.
    """
    from onnx_ir.passes import common

    if model.functions:
        common.InlinePass()(model)
    unpacked = unpack_weights(model)
    return in_single_precision(model) or unpacked > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A file, open.

    Attributes:
        path: the file, without what onnxruntime does not take.
        run: what computes the values: it, or its copy in float32.
        directory: for copies, where they are needed.
        values: what it computes.
        remade: that is in float32, in which the file itself does not compute.
    """

    path: Path
    run: Path
    directory: Path
    values: GraphValues
    remade: bool

    @classmethod
    def of(cls, path: Path, directory: Path) -> Original:
        """Open a file; in float32 where it computes in half or double precision, or stores weights in integers.

        onnxruntime has few kernels in double precision, rounds in half precision, and activations beside integer
        weights.

        Raises:
            InputError: onnxruntime does not load it, or reads it otherwise than ONNX says.
        """
        file = with_names_of_its_own(path, directory)
        model = read_model(file)
        refuse_misread(model, path)
        remade = in_float32(model)
        run = directory / f"{path.stem}-float32.onnx" if remade else file
        if remade:
            write_model(model, run)
        return cls(path=file, run=run, directory=directory, values=as_given(run, directory), remade=remade)

    def as_written(self) -> GraphValues:
        """The values without what onnxruntime fuses, which are of another order of the same sums."""
        return as_given(self.run, self.directory, "as written")

    def prove(self, feed: Feed, answer: Mapping[str, Array]) -> None:
        """Hold what the float32 form answered against the file, where onnxruntime has kernels for that.

        Raises:
            VerificationError: they do not give the same, but for the rounding of half precision.
        """
        if not self.remade:
            return
        try:
            given = as_given(self.path, self.directory)
        except InputError:  # no kernel in that precision
            return
        found = worst(parity([given(feed)], [answer]))
        if not found.reaches(LEAST_DB):
            raise VerificationError(
                f"{self.path} gives other outputs in float32 than as it is: {found}.",
                hint="Export it in float32 where it was made; there may be values beyond the range of float16 in it.",
            )
