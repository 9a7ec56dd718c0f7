"""The tensors of a Hugging Face directory, read from its safetensors files one at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import InputError, UnreadableError
from ...profiles.reading.json_file import decoded, read_json
from ...profiles.reading.opened import opened
from .weights import Floats

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
HINT = "Copy the file again, or write it again with `save_pretrained`."
# safetensors' own bound of the header, in bytes.
MOST_HEADER = 100_000_000
# Bytes that are read at a time where they have to be converted.
CHUNK = 1 << 24
# How a type of safetensors is read; bfloat16 is the upper half of a float32.
_TYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """Where a tensor lies: its file, its type there, and its first byte in the file and how many there are."""

    path: Path
    type: str
    shape: tuple[int, ...]
    begin: int
    bytes: int


class Safetensors:
    """The `Store` of a directory. A tensor's bytes are read into its array, and no page of a file is mapped."""

    def __init__(self, directory: Path) -> None:
        """Read the headers.

        Raises:
            InputError: there are no such files, or one is damaged.
        """
        self._directory = directory
        self._stored: dict[str, StoredTensor] = {}
        for path in _files(directory):
            found = _header(path)
            if twice := self._stored.keys() & found.keys():
                other = self._stored[min(twice)].path.name
                raise UnreadableError.of(path, f"it has {min(twice)}, which {other} has as well", hint=HINT)
            self._stored |= found
        self.shapes: Mapping[str, tuple[int, ...]] = {name: each.shape for name, each in self._stored.items()}

    def read(self, name: str, rows: tuple[int, int] | None = None) -> Floats:
        """As `Store`.

        Raises:
            InputError: the tensor is of a type that is no float, or the file became shorter.
        """
        stored = self._stored[name]
        if stored.type not in _TYPES:
            raise InputError(
                f"{stored.path} has {name} as {stored.type}; expected one of {', '.join(_TYPES)}.",
                hint="Give the model's weights as they were before they were quantized.",
            )
        first, last = rows or (0, stored.shape[0] if stored.shape else 1)
        below, kind = stored.shape[1:], _TYPES[stored.type]
        values = np.empty(((last - first,) if stored.shape else ()) + below, np.float32)
        with opened(stored.path, hint=HINT) as file:
            file.seek(stored.begin + first * prod(below) * kind.itemsize)
            _fill(values.reshape(-1), file, stored.type)
        return values

    def digest(self) -> str:
        """As `Store`."""
        return digest_of(self._directory)


def digest_of(directory: Path) -> str:
    """Sha256 in hex over names and bytes of the files that have the tensors.

    Raises:
        InputError: there are no such files.
    """
    total = hashlib.sha256()
    for path in _files(directory):
        with opened(path, hint=HINT) as file:
            total.update(f"{path.name} {_sha256(file)}\n".encode())
    return total.hexdigest()


def _sha256(file: BinaryIO) -> str:
    total = hashlib.sha256()
    while part := file.read(CHUNK):
        total.update(part)
    return total.hexdigest()


def _fill(values: Floats, file: BinaryIO, type: str) -> None:
    """Values of an array without axes but one, from where the file stands."""
    kind = _TYPES[type]
    if type == "F32":
        _exactly(file, values.view(np.uint8))
        return
    part = np.empty(CHUNK // kind.itemsize, kind)
    for begin in range(0, values.size, part.size):
        into = values[begin : begin + part.size]
        raw = part[: into.size]
        _exactly(file, raw.view(np.uint8))
        if type == "BF16":
            np.left_shift(raw, 16, out=into.view(np.uint32), dtype=np.uint32)
        else:
            into[...] = raw


def _exactly(file: BinaryIO, into: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    if file.readinto(memoryview(into.data)) != into.nbytes:  # type: ignore[attr-defined]
        raise ValueError("it ends before the tensor does")


def _files(directory: Path) -> tuple[Path, ...]:
    """The files that have the tensors, in the order of their names; as for transformers a single one goes first."""
    index = directory / INDEX
    if (directory / SINGLE).is_file() or not index.is_file():
        return (directory / SINGLE,)
    data = read_json(index, hint=HINT)
    named = data.get("weight_map") if isinstance(data, Mapping) else None
    if not isinstance(named, Mapping) or not named or not all(isinstance(name, str) for name in named.values()):
        raise UnreadableError.of(index, "it has no `weight_map`", hint=HINT)
    names = sorted(set(named.values()))
    if strange := [name for name in names if not name or Path(name).name != name]:
        raise UnreadableError.of(index, f"it names {strange[0]!r}, which is no file beside it", hint=HINT)
    return tuple(directory / name for name in names)


def _header(path: Path) -> dict[str, StoredTensor]:
    """What a file says it has; that this is all the file has, and all of it once, is checked.

    The format: https://huggingface.co/docs/safetensors/index#format
    """
    with opened(path, what="is not a safetensors file", hint=HINT) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MOST_HEADER, size - 8):
            raise ValueError("its header is longer than the file")
        data = decoded(file.read(length))
        if not isinstance(data, dict):
            raise ValueError("its header is no table")  # noqa: TRY004  (what is at fault is the file)
        data.pop("__metadata__", None)
        stored = {name: _stored(path, name, entry, 8 + length) for name, entry in data.items()}
        _need_all(stored, 8 + length, size)
        return stored


def _stored(path: Path, name: str, entry: Any, begin: int) -> StoredTensor:
    shape, (first, last), type = (entry[key] for key in ("shape", "data_offsets", "dtype"))
    if not all(isinstance(number, int) and 0 <= number < 1 << 63 for number in (*shape, first, last)) or last < first:
        raise ValueError(f"shape or place of {name} are no whole numbers")
    if not isinstance(type, str):
        raise ValueError(f"{name} has no type")  # noqa: TRY004  (what is at fault is the file)
    size = last - first
    if type in _TYPES and size != prod(shape) * _TYPES[type].itemsize:
        raise ValueError(f"{name} has {size} bytes, and {prod(shape) * _TYPES[type].itemsize} by its shape")
    return StoredTensor(path=path, type=type, shape=tuple(shape), begin=begin + first, bytes=size)


def _need_all(stored: Mapping[str, StoredTensor], begin: int, size: int) -> None:
    """Tensors lie one behind the other, and the file ends with the last."""
    end = begin
    for name, each in sorted(stored.items(), key=lambda item: (item[1].begin, item[1].bytes)):
        if each.begin != end:
            raise ValueError(f"{name} does not begin where the tensor before it ends")
        end += each.bytes
    if end != size:
        raise ValueError(f"it has {size} bytes, and {end} by its header")
