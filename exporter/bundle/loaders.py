"""The directory `loaders/` of a bundle: source code that opens its engine, as the engine's backend writes it.

The loaders read the golden data where they lie. An `.npz` is an archive whose members are stored as they are, so that
an array is a slice of the file; who reads it so needs no library for it, and nothing is in the bundle twice.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from numpy.lib import format as npy

from ...backends.base import AxisRange, TensorSpec
from ...backends.loaders.facts import LoaderFacts, LoaderTensor, Sample, Slice
from ...backends.registry import load_backend
from ..capture.golden import GRAPH_OUTPUTS, INPUTS, OUTPUTS, Golden
from .manifest import EngineEntry, ModelEntry

LOADERS = "loaders"
_GOLDEN = "golden"
# Of a member's own header: its fixed part, and where in it the lengths of the two parts that follow stand.
_HEADER, _LENGTHS = 30, 26


class NoSliceError(ValueError):
    """An array of a file is no run of its bytes."""


def write_loaders(directory: Path, fields: Mapping[str, Any]) -> None:
    """Write the loaders of what the directory holds, in place of any there: none of a decoder or without an engine.

    Nor are there any where golden data of an earlier revision, that `edgepress build` goes on with, are no slices.

    Args:
        fields: the manifest's; golden data and engine lie in the directory.
    """
    place = directory / LOADERS
    shutil.rmtree(place, ignore_errors=True)
    engine: EngineEntry = fields["engine"]
    if engine.path is None or fields.get("language") is not None:
        return
    try:
        facts = _facts(directory, engine.path, fields)
    except NoSliceError:
        return
    for name, text in load_backend(engine.backend).loaders(facts).items():
        place.mkdir(exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")


def _facts(directory: Path, engine: str, fields: Mapping[str, Any]) -> LoaderFacts:
    model: ModelEntry = fields["model"]
    least_own_db, golden = fields.get("minimum_graph_db"), Golden.load(directory / _GOLDEN)
    rows = {name for one in golden.rows for name in one.outputs}
    inputs, outputs = (_Arrays.of(directory, name) for name in (INPUTS, OUTPUTS))
    own = None if least_own_db is None else _Arrays.of(directory, GRAPH_OUTPUTS)
    samples = tuple(
        Sample(
            inputs=inputs.sample(index, model.inputs),
            fp32=outputs.sample(index, model.outputs),
            own=() if own is None else own.sample(index, model.outputs),
        )
        for index in range(len(inputs.slices) // len(model.inputs))
    )
    return LoaderFacts(
        model=model.name,
        target=fields["target"],
        precision=fields["engine"].precision,
        engine=engine,
        graph=directory / "model.onnx",
        inputs=tuple(_tensor(spec, model.axes) for spec in model.inputs),
        outputs=tuple(_tensor(spec, model.axes, spec.name in rows) for spec in model.outputs),
        axes=_free(model.inputs, samples[0]),
        samples=samples,
        least_db=fields["minimum_sqnr_db"],
        least_own_db=least_own_db,
        versions=fields["tools"],
    )


def _tensor(spec: TensorSpec, axes: Mapping[str, AxisRange], rows: bool = False) -> LoaderTensor:
    free = [
        f"{axis} from {axes[axis].smallest} to {axes[axis].largest}"
        for axis in spec.shape
        if isinstance(axis, str) and axis in axes
    ]
    told = "; ".join([f"`{spec.name}`: {spec.dtype} {spec}", *free])
    return LoaderTensor(name=spec.name, dtype=spec.dtype, told=told, rows=rows)


def _free(specs: Sequence[TensorSpec], single: Sample) -> dict[str, int]:
    """Sizes of the free axes in the first sample, which is a single inference."""
    pairs = zip(specs, single.inputs, strict=True)
    sizes = (pair for spec, one in pairs for pair in zip(spec.shape, one.shape, strict=True))
    return {axis: size for axis, size in sizes if isinstance(axis, str)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrays:
    """The arrays of one golden file, by the names that `Golden.save` gives them."""

    slices: Mapping[str, Slice]

    @classmethod
    def of(cls, directory: Path, name: str) -> _Arrays:
        return cls(slices=slices(directory / _GOLDEN / name, f"{_GOLDEN}/{name}"))

    def sample(self, index: int, specs: Sequence[TensorSpec]) -> tuple[Slice, ...]:
        return tuple(self.slices[f"{index}.{spec.name}"] for spec in specs)


def slices(path: Path, name: str) -> dict[str, Slice]:
    """Where the arrays of an `.npz` file lie in it, by their names.

    Args:
        name: of the file in its bundle.

    Raises:
        NoSliceError: an array is compressed, in Fortran's order or big-endian.
    """
    with path.open("rb") as file, ZipFile(file) as archive:
        return {entry.filename.removesuffix(".npy"): _slice(file, entry, name) for entry in archive.infolist()}


def _slice(file: IO[bytes], entry: ZipInfo, name: str) -> Slice:
    # Lengths of the member's name and of its extra field (PKWARE's APPNOTE, 4.3.7); the directory at the end of the
    # archive has others.
    file.seek(entry.header_offset + _LENGTHS)
    lengths: tuple[int, int] = struct.unpack("<HH", file.read(4))
    file.seek(entry.header_offset + _HEADER + sum(lengths))
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if entry.compress_type != ZIP_STORED or (fortran and len(shape) > 1) or dtype.byteorder == ">":
        raise NoSliceError(f"{name}: {entry.filename} is compressed, in Fortran's order or big-endian.")
    return Slice(file=name, offset=file.tell(), dtype=dtype.name, shape=shape)
