"""Expected losses, against those that are measured."""

import numpy as np
import torch

from edgepress.exporter.language.eager import logits
from edgepress.exporter.language.options import options_of
from edgepress.exporter.language.quantize import TABLE, RoundedWeights, matrices
from edgepress.exporter.language.sensitivity import moments

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


def test_squares_of_all_texts_add_up():
    _, decoder, checkpoint = tiny()
    tokens = texts(3)
    together = moments(decoder, plain(decoder, checkpoint), tokens)
    one_by_one = [moments(decoder, plain(decoder, checkpoint), [text]) for text in tokens]
    name = "layers.1.feed_forward.down"
    summed = sum(each.inputs[name] for each in one_by_one)
    np.testing.assert_allclose(together.inputs[name], summed, rtol=1e-5)
    assert together.tokens == tokens.size and together.rows.sum() == tokens.size
