"""The compiled loop and its numpy stand-in count the same."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgepress.calibration import exact, kernels

COMPILED = kernels.compiled
shapes = st.tuples(*[st.integers(1, 9)] * 4)
any_finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def way(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "compiled", None)
    elif COMPILED is None:
        pytest.skip("the package was built without a C compiler")


def observe(values, sums=True, squares=True, spread=True):
    seen = kernels.Seen.nothing(values.shape[2], sums=sums, squares=squares, spread=spread)
    kernels.observe(values, seen)
    return seen


def test_every_element_is_counted_in_the_bin_of_its_top_bits():
    values = np.random.default_rng(0).normal(size=(1, 1, 1, 3 * kernels.BLOCK + 7)).astype(np.float32)
    values[..., ::3] = 0.0
    values[..., 1::5] = -0.0
    expected = np.bincount(values.reshape(-1).view(np.uint32) >> kernels.SHIFT, minlength=kernels.BINS)
    np.testing.assert_array_equal(observe(values).counts, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_the_counts(bad):
    values = np.ones((2, 1, 1, 50), np.float32)
    assert observe(values).finite()
    values[1, 0, 0, 13] = bad
    assert not observe(values).finite()


@pytest.mark.parametrize("shape", [(2, 1, 5, 49), (3, 7, 33, 1), (1, 1, 1, 1), (4, 1, 16, 8), (2, 3, 4, 17)])
def test_channels_are_reduced_as_in_float64(shape):
    values = np.random.default_rng(1).normal(0.5, 2, size=shape).astype(np.float32)
    wide = values.astype(np.float64)
    seen = observe(values)
    np.testing.assert_allclose(exact.value(seen.total), wide.sum((0, 1, 3)), rtol=2e-6, atol=1e-5)
    np.testing.assert_allclose(exact.value(seen.square), (wide**2).sum((0, 1, 3)), rtol=2e-6)
    np.testing.assert_array_equal(seen.minimum, values.min((0, 1, 3)))
    np.testing.assert_array_equal(seen.maximum, values.max((0, 1, 3)))


def test_arrays_add_up():
    values = np.random.default_rng(2).normal(size=(6, 3, 4, 25)).astype(np.float32)
    whole, parts = observe(values), kernels.Seen.nothing(4, sums=True, squares=True, spread=True)
    for part in (values[:1], values[1:4], values[4:]):
        kernels.observe(part, parts)
    for name in ("counts", "total", "square", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_only_what_is_asked_for_is_kept():
    values = np.ones((2, 3, 4, 5), np.float32)
    seen = observe(values, sums=True, squares=False, spread=False)
    assert seen.counts.sum() == values.size
    assert (seen.total.shape[1], seen.square.shape[1], seen.minimum.size, seen.maximum.size) == (4, 0, 0, 0)
    seen = observe(values, sums=False, squares=False, spread=True)
    assert (seen.total.shape[1], seen.square.shape[1], seen.minimum.size, seen.maximum.size) == (0, 0, 4, 4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays(np.float32, shapes, elements=any_finite))
def test_extremes_are_found_wherever_they_are(values):
    seen = observe(values, sums=False, squares=False, spread=True)
    np.testing.assert_array_equal(seen.minimum, values.min((0, 1, 3)))
    np.testing.assert_array_equal(seen.maximum, values.max((0, 1, 3)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.just(1), st.integers(1, 5), st.just(1)), elements=any_finite))
def test_limbs_are_those_of_the_long_accumulator(values):
    """One element a sum: no rounding, so that both ways must give the same integers; denormals and huge ones too."""
    seen = observe(values, sums=True, squares=False, spread=False)
    np.testing.assert_array_equal(seen.total, exact.limbs(values[:, 0, :, 0]))


def test_sums_beyond_float32_stay_at_its_end():
    values = np.full((1, 1, 2, 4), 3e38, np.float32)
    values[0, 0, 1] *= -1
    seen = observe(values)
    np.testing.assert_allclose(exact.value(seen.total), [kernels.FLOAT32_MAX, -kernels.FLOAT32_MAX])
    np.testing.assert_allclose(exact.value(seen.square), kernels.FLOAT32_MAX)


@pytest.mark.skipif(COMPILED is None, reason="the package was built without a C compiler")
@pytest.mark.parametrize(
    ("shape", "counts", "total", "said"),
    [
        ((1, 1, 1, 4), 4096, 1, "12 bytes and not 16"),
        ((1, 1, 1, 3), 4095, 1, "32760 bytes and not 32768"),
        ((1, 1, 3, 1), 4096, 1, "120 bytes and not 360"),
    ],
)
def test_a_buffer_of_another_size_is_refused(shape, counts, total, said):
    out = np.zeros(counts, np.int64), np.zeros((15, total), np.int64)
    with pytest.raises(ValueError, match=said):
        COMPILED.observe(np.zeros(3, np.float32), shape, *out, None, None, None)
