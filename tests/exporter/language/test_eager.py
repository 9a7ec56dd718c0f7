"""Torch as a runtime of decoders, against transformers' own module."""

import numpy as np
import pytest
import torch

from edgepress.exporter.language.eager import by_weights, logits
from edgepress.exporter.language.quantize import RoundedWeights, uniform

from ._tiny import grid, texts, tiny


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_transformers(tied):
    module, decoder, checkpoint = tiny(tied=tied)
    tokens = texts(3)
    with torch.no_grad():
        expected = module(torch.from_numpy(tokens)).logits.numpy()
    found = logits(decoder, RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids={}), tokens)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_rounded_weights_compute_what_a_module_with_them_does(tied):
    module, decoder, checkpoint = tiny(tied=tied)
    weights = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=uniform(decoder, grid(32)))
    tokens = texts(3)
    found = logits(decoder, weights, tokens)
    for linear in decoder.linears():
        module.get_parameter(linear.weight.name if linear != decoder.head else "lm_head.weight").copy_(
            torch.from_numpy(weights.matrix(linear).floats())
        )
    if not tied:
        module.get_parameter(decoder.embedding.name).copy_(torch.from_numpy(weights.table().floats()))
    with torch.no_grad():
        np.testing.assert_allclose(found, module(torch.from_numpy(tokens)).logits.numpy(), atol=2e-4)
    assert not np.allclose(
        found, logits(decoder, RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids={}), tokens)
    )


def test_a_matrix_is_read_and_rounded_once():
    _, decoder, checkpoint = tiny()
    weights = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=uniform(decoder, grid(32)))
    logits(decoder, weights, texts(1))
    asked = checkpoint.asked.count(decoder.embedding.name)
    logits(decoder, weights, texts(1))
    assert asked == checkpoint.asked.count(decoder.embedding.name) == 1


@pytest.mark.parametrize("tied", [True, False])
def test_texts_of_several_lengths_are_read_together_as_each_is_alone(tied):
    _, decoder, checkpoint = tiny(tied=tied)
    weights = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=uniform(decoder, grid(32)))
    long, other, short = texts(3)[0], texts(3)[1][:7], texts(3)[2][:1]
    found = by_weights(decoder, weights, [long, other, short])
    for text, together in zip((long, other, short), found, strict=True):
        np.testing.assert_allclose(together, logits(decoder, weights, text[None])[0], atol=1e-5)
