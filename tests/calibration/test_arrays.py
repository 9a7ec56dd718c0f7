"""Files of arrays that are damaged, or lie about what follows."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgepress.calibration.arrays import MOST_ARRAYS, read_arrays
from edgepress.errors import InputError, UnreadableError, VerificationError
from edgepress.exporter.capture.golden import Golden


def lying(path: Path, shape: bytes) -> Path:
    """An `.npz` whose array's header gives a shape that its data do not have."""
    file = io.BytesIO()
    np.save(file, np.zeros(8, np.float32))
    text = file.getvalue().replace(b"(8,), }", shape + b", }").ljust(160)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.x.npy", text)
    return path


@pytest.mark.parametrize("shape", [b"(1099511627776,)", b"(-1,)", b"(9, 9)", b"(1.5,)", b"'x'"])
def test_a_header_that_lies_is_one_message(tmp_path: Path, shape: bytes) -> None:
    with pytest.raises(InputError):
        read_arrays(lying(tmp_path / "data.npz", shape))


def test_every_cut_of_a_file_is_one_message(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", x=np.arange(6.0), y=np.arange(3))
    data = (tmp_path / "whole.npz").read_bytes()
    for end in range(0, len(data), 7):
        (tmp_path / "cut.npz").write_bytes(data[:end])
        with pytest.raises(InputError):
            read_arrays(tmp_path / "cut.npz")


@pytest.mark.parametrize("name", ["x", "first.x"])
def test_golden_arrays_of_other_names_are_a_failed_verification(tmp_path: Path, name: str) -> None:
    for file in ("inputs.npz", "outputs.npz"):
        np.savez(tmp_path / file, **{name: np.zeros(2, np.float32)})
    with pytest.raises(VerificationError, match=r"Golden file inputs\.npz"):
        Golden.load(tmp_path)


def test_a_golden_file_that_lies_is_a_failed_verification(tmp_path: Path) -> None:
    lying(tmp_path / "inputs.npz", b"(1099511627776,)")
    with pytest.raises(VerificationError, match=r"Golden file inputs\.npz"):
        Golden.load(tmp_path)


def packed(path: Path, *names: str, method: int = zipfile.ZIP_STORED, more: bytes = b"") -> Path:
    """An archive of the same small array under each name, with something behind it."""
    file = io.BytesIO()
    np.save(file, np.zeros(64, np.float32))
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names or ("x.npy",):
            archive.writestr(name, file.getvalue() + more)
    return path


def patched(path: Path, at: int, form: str, value: int) -> Path:
    """The same archive with one field of its only entry in the central directory changed."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + at, value)
    path.write_bytes(data)
    return path


def twice(path: Path) -> Path:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return packed(path, "x.npy", "x.npy")


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def plain(path: Path, array: np.ndarray, cut: int = 0, more: bytes = b"") -> Path:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    path.write_bytes(file.getvalue()[: len(file.getvalue()) - cut] + more)
    return path


# Offsets in an entry of the central directory: 8 flags, 10 method, 24 size (APPNOTE.TXT of the ZIP format, 4.3.12).
@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda p: patched(packed(p), 24, "<I", 3 << 30), "declare 3 GB"),
        (lambda p: patched(packed(p), 24, "<I", 1 << 20), "and 1048448 follow"),
        (lambda p: packed(p, more=b"x"), "256 bytes, and 257 follow"),
        (lambda p: patched(packed(p), 8, "<H", 1), "'x' in it is encrypted"),
        (lambda p: patched(packed(p), 10, "<H", 99), "compressed in a way"),
        (lambda p: packed(p, method=zipfile.ZIP_LZMA), "compressed in a way"),
        (lambda p: packed(p, method=zipfile.ZIP_BZIP2), "compressed in a way"),
        (twice, "holds 'x' twice"),
        (lambda p: packed(p, *(f"{i}.npy" for i in range(MOST_ARRAYS + 1))), "it holds 10001 arrays"),
        (pipe, "no regular file"),
        (lambda p: plain(p, np.zeros(9), cut=8), "72 bytes, and 64 follow"),
        (lambda p: plain(p, np.zeros(9), more=b"12345678"), "72 bytes, and 80 follow"),
        (lambda p: plain(p, np.asarray([{}], object)), "pickled objects"),
        (lambda p: p.write_bytes(b"\x80\x04N."), "neither an .npy nor an .npz"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_an_archive_declares_is_held_against_what_is_in_it(tmp_path: Path, write, words: str) -> None:
    write(tmp_path / "data.npz")
    with pytest.raises(UnreadableError) as caught:
        read_arrays(tmp_path / "data.npz")
    assert caught.value.message.startswith(f"{tmp_path / 'data.npz'} cannot be read: ")
    assert words in caught.value.reason


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_every_kind_are_read_back(tmp_path: Path, save) -> None:
    arrays = {
        "a.b": np.arange(6, dtype=">i4").reshape(2, 3),
        "none": np.zeros((0, 3), np.float16),
        "scalar": np.float64(3.0),
        "turned": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "zeros": np.zeros(1 << 21, np.uint8),
        "text": np.asarray(["one", "three"]),
    }
    save(tmp_path / "data.npz", **arrays)
    found = read_arrays(tmp_path / "data.npz")
    assert isinstance(found, dict)
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[n], arrays[n]) and found[n].dtype == arrays[n].dtype for n in arrays)
    np.save(tmp_path / "one.npy", arrays["turned"])
    assert np.array_equal(read_arrays(tmp_path / "one.npy"), arrays["turned"])
