"""Calibration data whose largest values grow as they are more are said to: what is beyond them is clipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .test_alike import said


@pytest.mark.parametrize(
    ("spread", "tells", "workers"),
    [(1.3, True, 1), (0.2, False, 1), pytest.param(1.3, True, 2, marks=pytest.mark.slow)],
)
def test_strengths_of_all_sizes_are_told_from_alike_ones(
    tmp_path: Path, spread: float, tells: bool, workers: int
) -> None:
    rng = np.random.default_rng(1)
    strengths = np.sort(np.exp(spread * rng.normal(size=(256, 1))), axis=0)
    mixed = np.concatenate([strengths[::4][rng.permutation(64)], np.delete(strengths, np.s_[::4], 0)])
    found = said(np.split(mixed * rng.normal(size=(256, 16)), 32), tmp_path, workers=workers)
    assert ("growing" in found) == tells
    if tells:
        assert "from the first 32 to all 256 samples by" in found["growing"]
