"""Factors of channels in the norm before: the same function, and less lost where they are kept."""

import numpy as np
import pytest
import torch

from edgepress.exporter.language.compensating import round_with_texts
from edgepress.exporter.language.eager import logits
from edgepress.exporter.language.quantize import RoundedWeights, uniform
from edgepress.exporter.language.scaling import factors_of, foldable

from ._tiny import grid, texts, tiny


def weights_of(decoder, checkpoint, grids):
    return RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=grids)


@pytest.mark.parametrize("tied", [True, False])
def test_factors_leave_the_function_as_it_is(tied):
    _, decoder, checkpoint = tiny(tied=tied)
    weights, tokens = weights_of(decoder, checkpoint, {}), texts(2)
    expected = logits(decoder, weights, tokens)
    norms = foldable(decoder)
    assert (decoder.head.reads in norms) != tied and len(norms) == 4 + (not tied)
    for name, norm in norms.items():
        weights.scale(name, norm, np.random.default_rng(0).lognormal(size=64).astype(np.float32))
    np.testing.assert_allclose(logits(decoder, weights, tokens), expected, atol=1e-3)


def test_factors_pay_where_few_channels_are_large():
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(48, 64)).astype(np.float32)
    size = np.where(np.arange(64) % 16 == 0, 30.0, 1.0)
    values = torch.from_numpy((rng.normal(size=(500, 64)) * size).astype(np.float32))
    factors = factors_of(weight, values.T @ values, grid(32))
    assert factors is not None and factors[::16].min() > 2 * np.median(factors)
    assert np.log(factors).mean() == pytest.approx(0, abs=1e-5)


def test_no_factors_for_what_was_never_seen():
    assert factors_of(np.ones((4, 32), np.float32), torch.zeros(32, 32), grid(32)) is None


@pytest.mark.parametrize("tied", [True, False])
def test_factors_are_kept_only_where_they_pay(tied):
    _, decoder, checkpoint = tiny(tied=tied)
    for name, value in checkpoint.tensors.items():
        if "layernorm" in name:
            value[::13] *= 12  # few large channels, as trained decoders have them
    grids = uniform(decoder, grid(None))
    grids["layers.0.attention.key"] = None
    weights, without = weights_of(decoder, checkpoint, grids), weights_of(decoder, checkpoint, grids)
    compared = round_with_texts(decoder, weights, texts(32), scaling=True)
    round_with_texts(decoder, without, texts(32))
    assert weights.factors and compared
    for name in weights.factors:
        own = [compared[each.name] for each in decoder.linears() if each.reads == name and each.name in compared]
        assert sum(each.scaled for each in own) < sum(each.compensated for each in own)
    exact = logits(decoder, weights_of(decoder, checkpoint, {}), texts(8, seed=5))
    errors = [np.square(logits(decoder, each, texts(8, seed=5)) - exact).mean() for each in (weights, without)]
    assert errors[0] < 1.1 * errors[1]
