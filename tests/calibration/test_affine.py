import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.calibration.affine import affine, dequantized_weight, quantize_weight, weight_scales
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target

X86, ARM, TENSORRT = (load_target(name).scheme.activation for name in ("server-cpu", "rpi5", "rtx"))
CHANNELS = Grid(bits=8, signed=True, symmetric=True, granularity="channel")
NIBBLES = Grid(bits=4, signed=True, symmetric=True, granularity="block", block=2)
GRIDS = [
    X86,
    ARM,
    TENSORRT,
    Grid(bits=16, signed=False, symmetric=False),
    Grid(bits=16, signed=True, symmetric=True),
    Grid(bits=4, signed=True, symmetric=False),
    Grid(bits=4, signed=False, symmetric=False),
]
finite = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@given(low=finite, high=finite)
def test_every_value_of_the_range_is_within_half_a_step(grid, low, high):
    low, high = min(low, high), max(low, high)
    found = affine(low, high, grid)
    smallest, largest = grid.smallest, grid.largest
    assert smallest <= found.zero_point <= largest and found.scale > 0
    for value in (low, high, 0.0, (low + high) / 2):
        q = np.clip(np.rint(value / found.scale) + found.zero_point, smallest, largest)
        # rounding the zero point may cost another half step at one end
        assert abs((q - found.zero_point) * found.scale - value) <= 1.01 * found.scale


def test_after_relu_the_zero_point_is_the_smallest_integer_so_that_runtimes_fuse_it():
    assert affine(0.0, 6.0, X86).zero_point == 0
    assert affine(0.0, 6.0, ARM).zero_point == -128


def test_the_symmetric_scheme_has_zero_point_0():
    assert affine(-1.0, 127.0, TENSORRT) == affine(0.0, 127.0, TENSORRT)
    assert affine(-1.0, 127.0, TENSORRT).zero_point == 0


@pytest.mark.parametrize("value", [0.0, 1e-44])
def test_a_tensor_of_zeros_or_denormals_gets_a_usable_scale(value):
    assert affine(0.0, value, X86).scale == 1.0


def test_weight_scales_are_per_channel_and_a_dead_channel_takes_the_median():
    weight = np.asarray([[127.0, -1], [0, 0], [2.54, 1], [-12.7, 3]], np.float32)
    np.testing.assert_allclose(weight_scales(weight, 0, CHANNELS), [1, 0.1, 0.02, 0.1], rtol=1e-6)
    assert weight_scales(weight, None, CHANNELS) == np.float32(1)
    assert weight_scales(np.zeros((2, 2), np.float32), 0, CHANNELS).tolist() == [1, 1]


def test_blocks_have_a_scale_each_and_the_last_may_be_shorter():
    weight = np.asarray([[7, 1], [-3.5, 0], [14, 0.7], [0, -0.7], [21, 2.8]], np.float32)
    scales = weight_scales(weight, 0, NIBBLES)
    np.testing.assert_allclose(scales, [[1, 1 / 7], [2, 0.1], [3, 0.4]], rtol=1e-6)
    assert quantize_weight(weight, scales, 0, NIBBLES)[:, 0].tolist() == [7, -4, 7, 0, 7]
    assert weight_scales(weight.T, 1, NIBBLES).tolist() == scales.T.tolist()
    np.testing.assert_allclose(dequantized_weight(weight, scales, 0, NIBBLES)[[0, 2, 4], 0], [7, 14, 21], rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_weight_is_more_than_half_a_step_off(axis):
    weight = np.random.default_rng(0).normal(size=(6, 7, 5)).astype(np.float32)
    for grid in (NIBBLES, CHANNELS):
        rounded = dequantized_weight(weight, weight_scales(weight, axis, grid), axis, grid)
        assert np.abs(rounded - weight).max() <= 0.501 * np.abs(weight).max() / grid.largest
