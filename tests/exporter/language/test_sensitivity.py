"""Expected losses, against those that are measured."""

import numpy as np
import pytest
import torch

from edgepress.exporter.language.compensation import compensate
from edgepress.exporter.language.eager import logits
from edgepress.exporter.language.options import options_of
from edgepress.exporter.language.quantize import TABLE, RoundedWeights, matrices
from edgepress.exporter.language.sensitivity import apart, expected_loss, left_apart, moments

from ._tiny import grid, texts, tiny


def plain(decoder, checkpoint):
    return RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids={})


def measured(decoder, checkpoint, name, kind, tokens):
    """KL a token of rounding one matrix alone."""
    exact = torch.from_numpy(logits(decoder, plain(decoder, checkpoint), tokens)).log_softmax(-1)
    rounded = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids={name: kind})
    found = torch.from_numpy(logits(decoder, rounded, tokens)).log_softmax(-1)
    return float((exact.exp() * (exact - found)).sum(-1).mean())


def test_the_matrices_that_cost_most_are_expected_to():
    for tied in (True, False):
        _, decoder, checkpoint = tiny(tied=tied)
        tokens = texts(24)
        found = moments(decoder, plain(decoder, checkpoint), tokens)
        options = options_of(decoder, checkpoint, [grid(32)], found, lambda rows, columns, _: rows * columns // 2)
        assert options.keys() == matrices(decoder).keys() and (TABLE in options) != tied
        expected = np.array([each[0].loss for each in options.values()])
        really = np.array([measured(decoder, checkpoint, name, grid(32), tokens) for name in options])
        ranks = [np.argsort(np.argsort(each)) for each in (expected, really)]
        assert np.corrcoef(*ranks)[0, 1] > 0.75
        assert 0.4 < expected.sum() / really.sum() < 2.5


def test_eight_bits_are_expected_to_lose_little_and_floats_nothing():
    _, decoder, checkpoint = tiny()
    found = moments(decoder, plain(decoder, checkpoint), texts(2))
    kinds = [grid(32), grid(64, bits=8), None]
    for each in options_of(decoder, checkpoint, kinds, found, lambda rows, columns, _: rows * columns).values():
        four, eight, floats = (option.loss for option in each)
        assert four > 0 and eight < 0.02 * four and floats == 0


def correlated(columns=48, count=4000):
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(count, columns // 3)) @ rng.normal(size=(columns // 3, columns))
    return ((mixed + rng.normal(size=(count, columns))) * rng.lognormal(size=columns)).astype(np.float32)


def test_what_is_left_of_an_input_is_what_those_behind_it_do_not_tell():
    values = correlated().astype(np.float64)
    found = left_apart(torch.from_numpy(values.astype(np.float32)))
    squares = values.T @ values / len(values)
    damped = squares + 0.01 * squares.diagonal().mean() * np.eye(48)
    for column in range(48):
        behind = slice(column + 1, 48)
        told = damped[column, behind] @ np.linalg.solve(damped[behind, behind], damped[behind, column])
        left = (damped[column, column] - told) * 4000 / (4000 - (47 - column))
        np.testing.assert_allclose(found[column], min(left, squares[column, column]), rtol=1e-3)
    assert found.sum() < 0.6 * squares.diagonal().sum()


@pytest.mark.parametrize("symmetric", [True, False])
def test_compensated_rounding_loses_what_is_expected_and_nearest_rounding_more(symmetric):
    values, weight = correlated(), np.random.default_rng(1).normal(size=(40, 48)).astype(np.float32)
    kind, samples = grid(16, symmetric=symmetric), torch.from_numpy(values)
    rounded = compensate(weight, samples.T @ samples, kind, sweeps=0).floats()
    really = 0.5 * np.square(values @ (rounded - weight).T).sum(1).mean()
    compensated, nearest = (
        expected_loss(weight, kind, np.ones(40), inputs)
        for inputs in (left_apart(samples), np.square(values).mean(0).astype(np.float64))
    )
    assert 0.6 < really / compensated < 1.4 and nearest > 1.5 * compensated


def test_options_that_are_compensated_are_expected_to_lose_less():
    _, decoder, checkpoint = tiny()
    weights, tokens = plain(decoder, checkpoint), texts(24)
    found = moments(decoder, weights, tokens)
    kinds = [grid(32), grid(32, bits=8)]
    before = options_of(decoder, checkpoint, kinds, found, lambda rows, columns, _: rows * columns)
    found.apart = apart(decoder, weights, tokens)
    assert found.apart.keys() == {linear.reads for linear in decoder.linears()}
    after = options_of(decoder, checkpoint, kinds, found, lambda rows, columns, _: rows * columns)
    for name, options in after.items():
        assert all(one.loss < other.loss for one, other in zip(options, before[name], strict=True))


def test_squares_of_all_texts_add_up():
    _, decoder, checkpoint = tiny()
    tokens = texts(3)
    together = moments(decoder, plain(decoder, checkpoint), tokens)
    one_by_one = [moments(decoder, plain(decoder, checkpoint), [text]) for text in tokens]
    name = "layers.1.feed_forward.down"
    summed = sum(each.inputs[name] for each in one_by_one)
    np.testing.assert_allclose(together.inputs[name], summed, rtol=1e-5)
    assert together.tokens == tokens.size and together.rows.sum() == tokens.size
