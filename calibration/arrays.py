"""Arrays that lie in `.npy` and `.npz` files, which may be damaged or not what they say."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from numpy.lib import format as npy

from ..backends.base import Array
from ..errors import UnreadableError
from ..profiles.reading.opened import opened

# Numbers that somebody measured shrink to a half or a tenth, masks and zeros to a thousandth: an archive of more than
# a gigabyte of them, all in all, was made to fill the memory.
MOST_SHRUNK, FREE = 100, 1 << 30
# An array an input, or golden data: those of a few feeds. Each takes half a millisecond, however small it is.
MOST_ARRAYS = 10_000
_ENCRYPTED = 1
_WRITTEN_BY_NUMPY = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_arrays(path: Path, *, hint: str | None = None) -> dict[str, Array] | Array:
    """All arrays of an `.npz` by name, or the one of an `.npy`; pickled objects are refused.

    What each array's header declares is held against what follows it before memory is taken for it.

    Raises:
        UnreadableError: no such file, or it cannot be understood.
    """
    with opened(path, hint=hint) as file:
        begin = file.read(len(npy.MAGIC_PREFIX))
        file.seek(0)
        if begin == npy.MAGIC_PREFIX:
            return _array(file, file, os.fstat(file.fileno()).st_size)
        if not begin.startswith(b"PK"):
            raise UnreadableError.of(path, "it is neither an .npy nor an .npz file", hint=hint)
        with zipfile.ZipFile(file) as archive:
            return dict(_members(archive, os.fstat(file.fileno()).st_size))


def _members(archive: zipfile.ZipFile, size: int) -> Iterator[tuple[str, Array]]:
    """The arrays of an archive of so many bytes, one at a time.

    Raises:
        ValueError: what is wrong with it.
    """
    entries = archive.infolist()
    if len(entries) > MOST_ARRAYS:
        raise ValueError(f"it holds {len(entries)} arrays, where {MOST_ARRAYS} are the most")
    declared = sum(entry.file_size for entry in entries)
    if declared > max(FREE, MOST_SHRUNK * size):
        raise ValueError(f"its {size} bytes declare {declared / 1e9:.0f} GB of arrays")
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        if name in seen:
            raise ValueError(f"it holds {name!r} twice")
        seen.add(name)
        if entry.flag_bits & _ENCRYPTED:
            raise ValueError(f"{name!r} in it is encrypted")
        if entry.compress_type not in _WRITTEN_BY_NUMPY:
            raise ValueError(f"{name!r} in it is compressed in a way that numpy does not write")
        with archive.open(entry) as header, archive.open(entry) as data:
            try:
                yield name, _array(header, data, entry.file_size)
            except ValueError as error:
                raise ValueError(f"{name!r} in it: {error}") from error


def _array(header: IO[bytes] | BinaryIO, data: IO[bytes] | BinaryIO, size: int) -> Array:
    """The array in a stream, whose header is read first.

    Args:
        header, data: the same stream, or two of the same bytes.
        size: bytes of the header and what follows it.

    Raises:
        ValueError: what is wrong with it.
    """
    version = npy.read_magic(header)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(header)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are not loaded")
    follows, declared = size - header.tell(), math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared != follows:
        raise ValueError(f"its header declares {shape} of {dtype}, {declared} bytes, and {follows} follow")
    data.seek(0)
    array: Array = npy.read_array(data, allow_pickle=False)
    return array
