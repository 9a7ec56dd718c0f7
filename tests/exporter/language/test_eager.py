"""Torch as a runtime of decoders, against transformers' own module."""

import numpy as np
import pytest
import torch

from edgepress.exporter.language.eager import logits
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
