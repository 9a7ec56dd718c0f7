import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.calibration.affine import affine, weight_scales
from edgepress.profiles.device.target import load_target

X86, ARM, TENSORRT = (load_target(name).scheme for name in ("server-cpu", "rpi5", "rtx"))
finite = st.floats(-1e6, 1e6, width=32)


def integer_range(scheme):
    return (0, 255) if scheme.activation == "uint8" else (-128, 127)


@pytest.mark.parametrize("scheme", [X86, ARM, TENSORRT], ids=lambda s: s.name)
@given(low=finite, high=finite)
def test_every_value_of_the_range_is_within_half_a_step(scheme, low, high):
    low, high = min(low, high), max(low, high)
    found = affine(low, high, scheme)
    smallest, largest = integer_range(scheme)
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
    np.testing.assert_allclose(weight_scales(weight, axis=0), [1, 0.1, 0.02, 0.1], rtol=1e-6)
    assert weight_scales(weight, axis=None) == np.float32(1)
    assert weight_scales(np.zeros((2, 2), np.float32), axis=0).tolist() == [1, 1]
