"""Scales tuned by what the whole decoder says: nearer to its floats on texts that were not read, codes as they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgepress.exporter.language.compensating import round_with_texts
from edgepress.exporter.language.distilling import distil, slopes_of
from edgepress.exporter.language.eager import logits
from edgepress.exporter.language.quantize import RoundedWeights, uniform
from edgepress.exporter.language.scales import split

from ._tiny import grid, texts, tiny
from .test_compensation import divergence


@pytest.mark.parametrize(("tied", "block", "symmetric"), [(True, 32, True), (False, 24, False)])
def test_scales_come_nearer_and_codes_stay(tied, block, symmetric):
    _, decoder, checkpoint = tiny(tied=tied)
    plan = uniform(decoder, grid(block, symmetric=symmetric))
    plan["layers.0.attention.key"], plan["layers.1.attention.value"] = None, grid(32, bits=8, symmetric=symmetric)
    weights = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=plan)
    read = texts(64)
    meant = round_with_texts(decoder, weights, read)
    assert meant.shape == (*read.shape, decoder.width)
    told = []
    found = distil(decoder, weights, read, meant, advance=told.append)
    assert told == sorted(told) and told[-1] == 1
    assert found.held.keys() == weights.held.keys()
    for name in found.held:
        before, after = weights.held[name].integers(), found.held[name].integers()
        np.testing.assert_array_equal(after.codes, before.codes)
        assert split(after.scales) is not None and not np.array_equal(after.scales, before.scales)
    assert divergence(decoder, found, checkpoint, read) < 0.97 * divergence(decoder, weights, checkpoint, read)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("given", [{}, {"logit_scale": 0.5, "softcap": 3.0, "embedding_scale": 2.0}])
def test_slopes_are_those_of_the_divergence(tied, given):
    _, decoder, checkpoint = tiny(tied=tied)
    decoder = replace(decoder, **given)
    weights, compensated = (
        RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=uniform(decoder, grid(32))) for _ in range(2)
    )
    read = texts(1, length=60)
    meant = round_with_texts(decoder, compensated, read)
    logits(decoder, weights, read)  # rounds to the nearest, of which slopes are steep
    slopes = slopes_of(decoder, weights, read, meant)
    assert slopes.keys() == weights.held.keys()
    for name, slope in slopes.items():
        moved = np.sign(slope) * 1e-2
        near = []
        for way in (1, -1):
            integers = weights.held[name].integers()
            other = replace(weights, held=dict(weights.held))
            other.hold(name, replace(integers, scales=(integers.scales * (1 + way * moved)).astype(np.float32)))
            near.append(divergence(decoder, other, checkpoint, read) / read.size)
        assert (near[0] - near[1]) / 2 == pytest.approx((slope * moved).sum(), rel=0.15)
