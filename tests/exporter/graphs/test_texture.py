"""Made-up pictures are as smooth as the example, and smooth where the example is somebody's noise."""

import numpy as np
import pytest

from edgepress.exporter.graphs.synthesis import synthesize
from edgepress.exporter.graphs.texture import UNKNOWN, Texture


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
