"""Made-up pictures are as smooth as the example, and smooth where the example is somebody's noise."""

import numpy as np
import pytest

from edgepress.exporter.graphs.synthesis import Look, synthesize
from edgepress.exporter.graphs.texture import MOST, UNKNOWN, Texture, lines


def pictures(cell, fine, size=64):
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.standard_normal((8, 3, size // cell, size // cell)), np.ones((cell, cell)))
    return (coarse + fine * rng.standard_normal(coarse.shape)).astype(np.float32)


def neighbours(array, lag=1):
    """Correlation of values that far apart along the last axis."""
    centred = array - array.mean()
    return float((centred[..., lag:] * centred[..., :-lag]).mean() / np.square(centred).mean())


@pytest.mark.parametrize(("cell", "fine"), [(8, 0.0), (8, 0.2), (16, 0.1)])
def test_what_is_made_correlates_as_the_example_does(cell, fine):
    example = pictures(cell, fine)
    made = synthesize({"x": example}, {}, None, seed=1)["x"]
    for lag in (1, cell // 2, cell):
        assert neighbours(made, lag) == pytest.approx(neighbours(example, lag), abs=0.2)


def test_noise_as_an_example_says_nothing_of_the_data():
    example = np.random.default_rng(0).random((2, 3, 32, 32)).astype(np.float32)
    assert Texture.of(example) == UNKNOWN
    assert neighbours(synthesize({"x": example}, {}, None, seed=1)["x"]) > 0.5


def test_small_axes_and_constants_say_nothing():
    for example in (np.ones((1, 3, 32, 32)), pictures(8, 0)[..., :4, :4], np.full((1, 1, 64), np.nan)):
        assert Texture.of(example) == UNKNOWN


def accelerometer():
    """White noise, and gravity on the third channel."""
    return np.random.default_rng(0).standard_normal((2, 6, 128)) + np.array([0, 0, 9.81, 0, 0, 0]).reshape(1, 6, 1)


def offset_samples():
    return np.random.default_rng(0).standard_normal((8, 3, 32, 32)) + np.arange(8).reshape(8, 1, 1, 1)


def offset_channels_last():
    return np.random.default_rng(0).standard_normal((1, 32, 32, 3)) + np.array([0, 50, 200])


@pytest.mark.parametrize("make", [accelerometer, offset_samples, offset_channels_last])
def test_means_of_channels_and_samples_that_differ_are_not_smoothness(make):
    assert Texture.of(make().astype(np.float32)) == UNKNOWN


@pytest.mark.filterwarnings("error")
def test_a_pattern_of_two_values_in_turn_has_a_texture():
    """Neighbours correlate by a half and the next but one by 1: straight on to lag 0 there is less than nothing."""
    rows, columns = np.sin(2 * np.pi * np.arange(256) / 256), (-1.0) ** np.arange(256)
    found = Texture.of((rows[:, None] + np.sqrt(0.50075) * columns)[None, None])
    assert found.cell >= UNKNOWN.cell and 0 <= found.fine <= UNKNOWN.fine


def slow_signal(length):
    rng = np.random.default_rng(0)
    return (np.cumsum(rng.standard_normal((2, 1, length)), 2) / length**0.5).astype(np.float32)


def test_a_long_signal_is_looked_at_in_part_and_seen_as_slow():
    whole = slow_signal(2 * MOST)
    assert lines(whole, 2).shape == (1, MOST)
    assert Texture.of(whole[..., :160_000]).cell > 10_000


@pytest.mark.parametrize(("shape", "axis"), [((1, 3, 2048, 2048), 3), ((64, 3, 512, 512), 2), ((2, 1, 1 << 24), 2)])
def test_of_a_large_input_few_lines_are_looked_at(shape, axis):
    found = lines(np.broadcast_to(np.float32(1), shape), axis)
    assert found.size <= MOST and found.shape[1] == min(shape[axis], MOST)


def test_lines_looked_at_are_of_all_samples_and_channels():
    """And of all columns: those at an image's edge may be all the same."""
    places = np.arange(4 * 3 * 1024 * 1024, dtype=np.float64).reshape(4, 3, 1024, 1024)
    starts = lines(places, 2)[:, 0].astype(int)
    assert set(starts // 1024**2) == set(range(12)) and len(set(starts % 1024)) > 80


def test_the_texture_is_that_of_the_first_batch_and_looked_for_once(monkeypatch):
    seen, real = [], Texture.of
    monkeypatch.setattr(Texture, "of", lambda array: seen.append(len(seen)) or real(array))
    look = Look.of(pictures(8, 0.0))
    for _ in range(3):
        look = look.with_more(pictures(16, 0.1))
    assert seen == [0] and look.texture == real(pictures(8, 0.0))
