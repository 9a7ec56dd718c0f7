"""Rounding of matrices, judged by brute force and by what must hold for every matrix."""

import numpy as np
import pytest

from edgepress.errors import InputError
from edgepress.exporter.language.packed import HalfBytes
from edgepress.exporter.language.rounding import round_matrix
from edgepress.profiles.device.grid import Grid

from ._tiny import grid

RNG = np.random.default_rng


def normal(*shape, seed=0):
    return RNG(seed).standard_t(5, size=shape).astype(np.float32)


def loss(weight, integers, importance=None):
    return float((np.square(weight - integers.floats()) * (1 if importance is None else importance)).sum())


def plain(weight, block, bits=4):
    """Symmetric rounding by the largest weight, the way tools do it by default."""
    blocks = weight.reshape(len(weight), -1, block)
    scale = np.abs(blocks).max(-1, keepdims=True) / (2 ** (bits - 1))
    return (np.clip(np.round(blocks / scale), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * scale).reshape(weight.shape)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block", [1, 7, 32, 64, 128, 1000, None])
@pytest.mark.parametrize("columns", [1, 33, 576])
def test_any_block_of_any_width_keeps_near_the_weights(symmetric, block, columns):
    weight = normal(5, columns)
    integers = round_matrix(weight, grid(block, symmetric=symmetric))
    size = min(block or columns, columns)
    assert integers.codes.shape == weight.shape and integers.codes.max() <= 15
    assert integers.scales.shape == (5, -(-columns // size)) and np.isfinite(integers.scales).all()
    assert (integers.zeros is None) == symmetric
    assert integers.floats().shape == weight.shape
    assert loss(weight, integers) < 0.05 * np.square(weight).sum()


@pytest.mark.parametrize("block", [32, 64, 128])
def test_less_is_lost_than_by_the_largest_weight(block):
    weight = normal(64, 512)
    large = np.square(weight) + 2  # large weights count more
    by_largest = float((np.square(weight - plain(weight, block)) * large).sum())
    assert loss(weight, round_matrix(weight, grid(block)), large) < 0.93 * by_largest


def test_a_scale_found_is_about_the_best_of_all_scales():
    weight = normal(40, 32)
    large = np.square(weight) + np.square(weight).mean(-1, keepdims=True)
    scales = np.linspace(0.5, 1.25, 400)[:, None, None] * np.abs(weight).max(-1)[None, :, None] / 8
    found = []
    for sign in (1, -1):
        codes = np.clip(np.round(weight / (sign * scales)), -8, 7)
        found.append((np.square(codes * sign * scales - weight) * large).sum(-1).min(0))
    best = np.minimum(*found)
    mine = (np.square(round_matrix(weight, grid(32)).floats() - weight) * large).sum(-1)
    assert mine.sum() < 1.1 * best.sum()


def test_importance_moves_the_loss_to_where_it_counts_less():
    weight, importance = normal(64, 128), RNG(3).lognormal(sigma=2, size=128)
    with_it = round_matrix(weight, grid(64), importance=importance)
    assert loss(weight, with_it, importance) < 0.9 * loss(weight, round_matrix(weight, grid(64)), importance)


@pytest.mark.parametrize("symmetric", [True, False])
def test_what_is_on_a_grid_already_keeps_its_codes_and_its_scales_in_a_byte(symmetric):
    rng = RNG(5)
    zero = 8 if symmetric else rng.integers(0, 16, size=(9, 4, 1))
    scale = rng.uniform(1, 4, size=(9, 4, 1))
    codes = rng.integers(0, 16, size=(9, 4, 32))
    codes[..., 0], codes[..., 1] = 0, 15
    weight = ((codes - zero) * scale).reshape(9, 128).astype(np.float32)
    found = round_matrix(weight, grid(32, symmetric=symmetric))
    assert np.array_equal(found.codes, codes.reshape(9, 128))
    assert (np.abs(found.scales - scale[..., 0]) <= 0.501 * scale.max(1) / 127).all()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("value", [0.0, 3.25, -3.25, 1e-38, -1e-42, 1e30])
def test_rows_of_one_value_come_back(symmetric, value):
    weight = np.full((3, 70), value, np.float32)
    integers = round_matrix(weight, grid(32, symmetric=symmetric))
    assert np.abs(integers.scales).min() > 0
    np.testing.assert_allclose(integers.floats(), weight, rtol=4e-5, atol=1e-30)


def test_the_longer_side_has_the_step_more():
    weight = np.tile(np.linspace(-7, 8, 16, dtype=np.float32), (1, 2))
    integers = round_matrix(weight, grid(32))
    assert integers.scales[0, 0] < 0
    np.testing.assert_allclose(integers.floats(), weight, rtol=4e-5)


def test_a_grid_without_its_smallest_integer_does_not_use_it():
    weight = normal(16, 64)
    codes = round_matrix(weight, Grid(bits=4, signed=True, symmetric=True, granularity="block", block=32)).codes
    assert codes.min() == 1 and codes.max() == 15


@pytest.mark.parametrize("symmetric", [True, False])
def test_eight_bits_lose_less_than_a_hundredth_of_what_four_do(symmetric):
    weight = normal(32, 192)
    four, eight = (round_matrix(weight, grid(64, symmetric=symmetric, bits=bits)) for bits in (4, 8))
    assert loss(weight, eight) < 0.01 * loss(weight, four)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_by_the_name_of_its_tensor(value):
    weight = normal(4, 64)
    weight[2, 5] = value
    with pytest.raises(InputError, match=r"model\.layers\.3\.up"):
        round_matrix(weight, grid(32), name="model.layers.3.up")


@pytest.mark.parametrize("shape", [(3, 33), (4, 64)])
@pytest.mark.parametrize("bits", [4, 8])
def test_integers_wait_in_as_few_bytes_as_they_have_bits(shape, bits):
    integers = round_matrix(normal(*shape), grid(32, bits=bits))
    packed = HalfBytes.of(integers)
    assert packed.codes.size == -(-integers.codes.size * bits // 8)
    assert np.array_equal(packed.integers().codes, integers.codes)
    assert np.array_equal(packed.integers().floats(), integers.floats())
