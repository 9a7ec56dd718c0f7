"""The raw latencies of a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepress.errors import InputError
from edgepress.exporter.bundle.samples import ROUNDS, load_samples, save_samples
from edgepress.profiles.timing.measurement import Measurement

FOUND = Measurement(samples=(1_000_000, 3_000_000, 2_000_000), rounds=(0, 0, 1), stable=True)


def test_samples_come_back_in_order_with_their_rounds(tmp_path: Path) -> None:
    found = {"engine": FOUND, "fp32": replace(FOUND, stable=False)}
    save_samples(tmp_path, found)
    assert load_samples(tmp_path, {arm: one.latency() for arm, one in found.items()}) == found


def test_a_bundle_without_rounds_still_has_its_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "latency.npz", engine=np.asarray(FOUND.samples))
    assert load_samples(tmp_path, {"engine": FOUND.latency()}) == {"engine": replace(FOUND, rounds=())}


def test_nothing_measured_writes_nothing(tmp_path: Path) -> None:
    save_samples(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
    assert load_samples(tmp_path, {}) == {}


@pytest.mark.parametrize("data", [b"", b"PK", b"\x93NUMPY", b"text"])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "latency.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"latency\.npz cannot be read"):
        load_samples(tmp_path, {"engine": FOUND.latency()})


@pytest.mark.parametrize("samples", [np.asarray(["a"]), np.asarray([1.5]), np.asarray(3), np.zeros((2, 2), np.int64)])
def test_what_are_no_latencies_is_refused(tmp_path: Path, samples: np.ndarray) -> None:
    np.savez(tmp_path / "latency.npz", engine=samples)
    with pytest.raises(InputError, match=r"whole numbers along one axis"):
        load_samples(tmp_path, {"engine": FOUND.latency()})


def test_samples_of_which_only_some_have_a_round_are_damaged(tmp_path: Path) -> None:
    np.savez(tmp_path / "latency.npz", **{"engine": np.arange(1, 6), f"{ROUNDS}engine": np.arange(4)})
    with pytest.raises(InputError, match=r"latency\.npz cannot be read: 5 samples have 4 rounds"):
        load_samples(tmp_path, {"engine": FOUND.latency()})


def test_without_rounds_there_is_no_interval() -> None:
    assert replace(FOUND, rounds=()).intervals((50,)) == {}
