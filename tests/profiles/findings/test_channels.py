"""Scales that share an output are judged apart; what only looks like another scale is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgepress.profiles.findings.parity import Array, Parity, parity


def of(reference: Array, output: Array) -> Parity:
    return parity([{"y": reference}], [{"y": output}])["y"]


@pytest.fixture
def detections() -> Array:
    """4 boxes in pixels and 80 scores, most of them low, at 50 places, of 4 images."""
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 640, (4, 4, 50))
    return np.concatenate([boxes, rng.uniform(0, 1, (4, 80, 50)) ** 4], axis=1).astype(np.float32)


@pytest.mark.parametrize("axis", [1, 2])
def test_scores_that_are_noise_do_not_hide_behind_boxes(detections: Array, axis: int) -> None:
    broken = detections.copy()
    broken[:, 4:] = 0
    found = of(np.moveaxis(detections, 1, axis), np.moveaxis(broken, 1, axis))
    assert found.sqnr_db > 40
    assert found.weakest_db == pytest.approx(0, abs=0.1)
    assert not found.reaches(10)
    assert f"channels 4..83 of axis {axis}: 0.0 dB" in str(found)


def test_groups_are_found_over_all_samples_and_free_sizes_are_no_channels(detections: Array) -> None:
    few = detections[:1, :, :7]
    found = parity([{"y": detections}, {"y": few}], [{"y": detections * 1.01}, {"y": few * 1.01}])["y"]
    assert [group.channels for group in found.groups] == [((0, 3),), ((4, 83),)]
    assert found.weakest_db == pytest.approx(40, abs=0.1)


def test_channels_of_one_scale_are_no_groups() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(32, 10)) * np.linspace(0.5, 8, 10)
    assert of(logits, logits * 1.1).groups == ()


def test_shares_of_one_whole_are_judged_as_one() -> None:
    logits = np.random.default_rng(0).normal(size=(32, 10)) * 4
    logits[:, 3] += 20
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert of(shares, shares).groups == ()


def test_a_pruned_channel_asks_for_nothing() -> None:
    """What it holds is rounding, and differs wholly from one runtime to the next."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 16, 5))
    values[:, 3] = 1e-9
    other = values * 1.0001
    other[:, 3] = rng.normal(size=(8, 5)) * 1e-5
    assert of(values, other).reaches(60)


def test_a_class_that_is_never_there_asks_for_little(detections: Array) -> None:
    """Its scores are far below one step of eight bits."""
    detections[:, 20] *= 1e-4
    other = detections.copy()
    other[:, 20] = 0
    assert of(detections, other).reaches(40)


def test_rounding_of_large_neighbours_is_no_fault(detections: Array) -> None:
    """Scores that come out of sums with the boxes carry the rounding of the boxes."""
    rng = np.random.default_rng(0)
    assert of(detections, detections + rng.normal(size=detections.shape) * 2e-4).reaches(60)


def test_classes_and_places_have_no_scales() -> None:
    places = np.array([[1, 10_000], [2, 20_000]])
    assert of(places, places).groups == ()


def _noisy(array: Any, share: float) -> Any:
    return array + share * np.random.default_rng(7).normal(size=array.shape)


def _hardly_firing() -> Any:
    rare = np.where(np.arange(512) < 10, 1e-3, 1.0)
    return np.maximum(np.random.default_rng(0).normal(size=(32, 512)) * rare - (rare < 1) * 1e-3, 0)


def _with_constant(value: float) -> Any:
    features = np.random.default_rng(1).normal(size=(16, 16, 8, 8))
    features[:, :2] = value
    return features


def _near_zero_by_chance(shape: tuple[int, ...]) -> Any:
    spread = np.array([0.02, 0.1]).reshape(1, 2, *[1] * (len(shape) - 2))
    middle = np.array([0.05, -3.0]).reshape(spread.shape)
    return middle + spread * np.random.default_rng(2).normal(size=shape)


@pytest.mark.parametrize(
    ("reference", "output"),
    [
        (_hardly_firing(), np.maximum(_noisy(_hardly_firing(), 0.05), 0)),
        (_with_constant(0.0), _noisy(_with_constant(0.0), 0.03)),
        (_with_constant(1e-3), _noisy(_with_constant(1e-3), 0.03)),
        (_near_zero_by_chance((3, 2)), _noisy(_near_zero_by_chance((3, 2)), 0.15)),
        (_near_zero_by_chance((3, 2, 16, 16)), _noisy(_near_zero_by_chance((3, 2, 16, 16)), 0.15)),
    ],
    ids=["features that hardly fire", "dead channels", "constant channels", "two logits", "a map of two classes"],
)
def test_channels_that_are_small_by_nature_or_chance_are_no_scale_of_their_own(reference: Any, output: Any) -> None:
    found = parity([{"y": reference.astype(np.float32)}], [{"y": output.astype(np.float32)}])["y"]
    assert not found.groups
    assert found.weakest_db == found.sqnr_db > 15
