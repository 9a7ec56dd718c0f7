"""Files of arrays that are damaged, or lie about what follows."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgepress.calibration.arrays import read_arrays
from edgepress.errors import InputError, VerificationError
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
