"""Compensated rounding: less is lost of what matrices give, on matrices alone and on a whole decoder."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from edgepress.errors import InputError
from edgepress.exporter.language.compensating import round_with_texts
from edgepress.exporter.language.compensation import LAZY, ReadMoments, compensate, damp, inverse_factor
from edgepress.exporter.language.eager import logits
from edgepress.exporter.language.quantize import TABLE, RoundedWeights, matrices, uniform
from edgepress.exporter.language.rounding import round_matrix
from edgepress.profiles.device.grid import Grid

from ._tiny import grid, texts, tiny


def correlated(columns, count=400, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, columns // 2)) @ rng.normal(size=(columns // 2, columns))
    values = (mixed + rng.normal(size=(count, columns))) * rng.lognormal(size=columns)
    return torch.from_numpy((values.T @ values).astype(np.float32))


def output_loss(weight, integers, hessian):
    error = torch.from_numpy(integers.floats() - weight)
    return float(((error @ damp(hessian)) * error).sum())


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block", [32, 50, 1000])
def test_outputs_lose_much_less_than_by_rounding_to_the_nearest(symmetric, block):
    weight, hessian = np.random.default_rng(1).normal(size=(24, 100)).astype(np.float32), correlated(100)
    kind = grid(block, symmetric=symmetric)
    nearest = round_matrix(weight, kind, importance=hessian.diagonal().numpy())
    losses = [output_loss(weight, compensate(weight, hessian, kind, sweeps=sweeps), hessian) for sweeps in range(4)]
    assert losses[0] < 0.7 * output_loss(weight, nearest, hessian)
    assert all(after <= before * (1 + 1e-4) for before, after in pairwise(losses))
    assert losses[-1] < 0.8 * losses[0]


def test_one_scale_for_more_columns_than_are_spread_at_once_is_as_column_by_column():
    columns = 2 * LAZY + 44
    weight = np.random.default_rng(6).normal(size=(7, columns)).astype(np.float32)
    hessian, steps = correlated(columns, count=900), np.abs(weight).max(1, keepdims=True) / 127
    kind = Grid(bits=8, signed=True, symmetric=True, granularity="channel")
    integers = compensate(weight, hessian, kind, sweeps=0, scales=steps)
    factor, left = inverse_factor(damp(hessian)).double().numpy(), weight.astype(np.float64)
    assert np.array_equal(factor, np.triu(factor))
    np.testing.assert_allclose(factor.T @ factor @ damp(hessian).double().numpy(), np.eye(columns), atol=1e-4)
    plain = np.empty_like(left)
    for column in range(columns):
        plain[:, column] = np.clip(np.round(left[:, column] / steps[:, 0]), -127, 127) * steps[:, 0]
        error = (left[:, column] - plain[:, column]) / factor[column, column]
        left[:, column + 1 :] -= np.outer(error, factor[column, column + 1 :])
    # An error of float32 may put a value on the edge of two codes to the other side, and then those behind it.
    assert np.mean(np.abs(integers.floats() - plain) < steps / 2) > 0.95
    plain_loss = float(np.einsum("ri,ij,rj", plain - weight, damp(hessian).double().numpy(), plain - weight))
    assert output_loss(weight, integers, hessian) == pytest.approx(plain_loss, rel=0.02)


def test_no_single_code_could_be_better():
    weight, hessian = np.random.default_rng(2).normal(size=(6, 20)).astype(np.float32), correlated(20)
    integers = compensate(weight, hessian, grid(20), sweeps=60)
    least = output_loss(weight, integers, hessian)
    for row in range(6):
        for column in range(20):
            for step in (-1, 1):
                code = int(integers.codes[row, column]) + step
                if not 0 <= code <= 15:
                    continue
                before, integers.codes[row, column] = integers.codes[row, column], code
                assert output_loss(weight, integers, hessian) > least * (1 - 1e-5)
                integers.codes[row, column] = before


def test_inputs_that_do_not_depend_on_each_other_are_rounded_to_the_nearest():
    weight = np.random.default_rng(3).normal(size=(8, 64)).astype(np.float32)
    integers = compensate(weight, torch.eye(64), grid(32))
    assert output_loss(weight, integers, torch.eye(64)) <= output_loss(
        weight, round_matrix(weight, grid(32)), torch.eye(64)
    )


@pytest.mark.parametrize("hessian", [torch.zeros(40, 40), torch.ones(40, 40), torch.diag(torch.arange(40.0) % 2)])
def test_inputs_that_were_never_seen_keep_their_weights(hessian):
    weight = np.random.default_rng(4).normal(size=(5, 40)).astype(np.float32)
    weight[1], weight[2, :32] = 0, 0
    integers = compensate(weight, hessian, grid(32))
    assert np.isfinite(integers.floats()).all() and (integers.floats()[1] == 0).all()
    assert np.square(integers.floats() - weight).sum() < 0.3 * np.square(weight).sum()


def test_what_is_no_number_is_refused():
    weight = np.full((2, 32), np.nan, np.float32)
    with pytest.raises(InputError, match=r"layers\.1\.up"):
        compensate(weight, torch.eye(32), grid(32), name="layers.1.up")


def divergence(decoder, weights, checkpoint, tokens):
    exact = torch.from_numpy(logits(decoder, RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids={}), tokens))
    found = torch.from_numpy(logits(decoder, weights, tokens))
    return float(
        torch.nn.functional.kl_div(found.log_softmax(-1), exact.log_softmax(-1), log_target=True, reduction="sum")
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("block", "symmetric"), [(32, True), (None, True), (64, False)])
def test_a_decoder_rounded_with_texts_is_nearer_on_others(tied, block, symmetric):
    _, decoder, checkpoint = tiny(tied=tied)
    plan = uniform(decoder, grid(block, symmetric=symmetric))
    nearest = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=plan)
    with_texts = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=plan)
    told = []
    round_with_texts(decoder, with_texts, texts(48), advance=told.append)
    assert with_texts.held.keys() == matrices(decoder).keys() and (TABLE in with_texts.held) != tied
    assert told == sorted(told) and told[-1] == 1
    judged = texts(8, seed=9)
    assert divergence(decoder, with_texts, checkpoint, judged) < 0.8 * divergence(decoder, nearest, checkpoint, judged)


def test_layers_take_the_grids_that_the_plan_gives_them():
    _, decoder, checkpoint = tiny()
    plan = uniform(decoder, grid(32))
    plan["layers.0.attention.key"] = None
    plan["layers.0.attention.value"] = grid(64, bits=8)
    weights = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=plan)
    round_with_texts(decoder, weights, texts(8))
    by_name = {linear.name: weights.matrix(linear) for linear in decoder.linears()}
    assert isinstance(by_name["layers.0.attention.key"], np.ndarray)
    assert by_name["layers.0.attention.value"].grid.bits == 8 and by_name["layers.0.attention.query"].grid.bits == 4


def test_eight_bits_are_compensated_too_by_one_pass():
    weight, hessian, kind = (
        np.random.default_rng(5).normal(size=(16, 64)).astype(np.float32),
        correlated(64),
        grid(64, bits=8),
    )
    nearest = round_matrix(weight, kind, importance=hessian.diagonal().numpy())
    once = compensate(weight, hessian, kind)
    assert output_loss(weight, once, hessian) < 0.6 * output_loss(weight, nearest, hessian)
    np.testing.assert_array_equal(once.codes, compensate(weight, hessian, kind, sweeps=0).codes)


def test_few_texts_are_all_used_to_round():
    _, decoder, checkpoint = tiny()
    weights = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=uniform(decoder, grid(32)))
    round_with_texts(decoder, weights, texts(2))
    assert weights.held.keys() == matrices(decoder).keys()


def test_what_hardly_varies_about_a_large_mean_has_moments_of_its_own():
    """The difference of two sums of 1e8 is their rounding, and has no factor; a depthwise layer reads such maps."""
    rng = np.random.default_rng(0)
    rows = torch.tensor(50 + 1e-3 * rng.standard_normal((1 << 14, 9)), dtype=torch.float32)
    moments = ReadMoments(9, about_mean=True)
    for part in rows.chunk(8):
        moments.add(part + 0.5, part)
    hessian, between = moments.centred()
    wanted = torch.cov(rows.double().T, correction=0) * len(rows)
    assert torch.allclose(hessian.double(), wanted, rtol=1e-2, atol=1e-2 * float(wanted.diagonal().min()))
    assert torch.allclose(between, torch.zeros_like(between), atol=1e-2 * float(wanted.diagonal().min()))
    meant, found = moments.means()
    assert torch.allclose(meant - found, torch.full_like(meant, 0.5), atol=1e-5)
    weight = rng.standard_normal((4, 9)).astype(np.float32)
    grid = Grid(bits=8, signed=True, symmetric=True, granularity="channel")
    compensate(weight, hessian, grid, scales=np.full((4, 1), 0.02, np.float32))
