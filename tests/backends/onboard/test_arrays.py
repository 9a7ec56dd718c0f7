"""Arrays and figures without numpy are those of edgepress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepress.backends.onboard.agreement import agreements, by_feed
from edgepress.backends.onboard.arrays import RawArray, read_npz, resized, write_npz
from edgepress.backends.onboard.orders import BuildError
from edgepress.profiles.findings.parity import parity


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "bool"]
)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_arrays_come_and_go_as_numpy_has_them(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    np.savez(tmp_path / "a.npz", x=array)
    read = read_npz(str(tmp_path / "a.npz"))["x"]
    assert (read.dtype, read.shape, read.numbers()) == (dtype, shape, array.ravel().tolist())
    write_npz(str(tmp_path / "b.npz"), {"x": read})
    with np.load(tmp_path / "b.npz") as back:
        assert np.array_equal(back["x"], array)
        assert back["x"].dtype == array.dtype


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_batches_are_those_of_numpy(batch: int) -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    found = resized(RawArray("int64", (2, 3), array.tobytes()), batch)
    assert np.array_equal(np.frombuffer(found.content, np.int64).reshape(found.shape), np.resize(array, (batch, 3)))


@pytest.mark.parametrize("damage", ["cut", "text", "objects"])
def test_a_damaged_file_is_a_message(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array(["a"]) if damage == "objects" else np.zeros(300))
    if damage != "objects":
        path.write_bytes(path.read_bytes()[:200] if damage == "cut" else b"no archive")
    with pytest.raises(BuildError, match=r"a\.npz cannot be read"):
        read_npz(str(path))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool", "int8"])
def test_the_figures_are_those_of_edgepress(dtype: str) -> None:
    rng = np.random.default_rng(7)
    references = tuple({"y": rng.normal(0, 9, (4, 5)).astype(dtype)} for _ in range(3))
    noise = [rng.normal(0, 0.4, (4, 5)) for _ in range(3)]
    answers = tuple({"y": (one["y"] + n).astype(dtype)} for one, n in zip(references, noise, strict=True))
    found = agreements(_raw(references), _raw(answers))["y"]
    expected = parity(references, answers)["y"]
    assert found.sqnr_db == pytest.approx(expected.sqnr_db, rel=1e-9)
    assert found.max_abs == pytest.approx(expected.max_abs, rel=1e-9)


@pytest.mark.parametrize(
    ("reference", "answer", "said"),
    [
        ([1.0, np.inf], [1.0, np.inf], ""),
        ([1.0, 2.0], [1.0, np.nan], "NaN or Inf where the reference is finite"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], "has shape"),
    ],
)
def test_what_is_no_number_is_treated_as_edgepress_does(reference: Any, answer: Any, said: str) -> None:
    pair = [_raw(({"y": np.array(one, np.float32)},)) for one in (reference, answer)]
    if said:
        with pytest.raises(BuildError, match=said):
            agreements(*pair)
    else:
        assert agreements(*pair)["y"].sqnr_db == np.inf


def test_golden_arrays_are_told_apart_by_feed() -> None:
    one = RawArray("bool", (), b"\0")
    assert by_feed({"1.b.c": one, "0.b.c": one}) == [{"b.c": one}, {"b.c": one}]
    with pytest.raises(BuildError, match="has an array 'b'"):
        by_feed({"b": one})


def _raw(feeds: Any) -> list[dict[str, RawArray]]:
    return [{n: RawArray(a.dtype.name, a.shape, a.tobytes()) for n, a in feed.items()} for feed in feeds]
