"""Scales in a byte each: exact as two parts, near to what they were, and no less where a block must be held."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgepress.backends.registry import load_backend
from edgepress.exporter.language.compensation import compensate
from edgepress.exporter.language.quantize import RoundedWeights, uniform
from edgepress.exporter.language.rounding import round_matrix
from edgepress.exporter.language.scales import LARGEST, short, split

from ._computed import computed
from ._tiny import grid
from ._toy import WORDS, Toy
from ._written import away, logits, written


def drawn(spread=0.5, rows=200, blocks=18):
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(-4, spread, (rows, blocks)) * rng.choice([-1, 1], (rows, blocks))
    return torch.from_numpy(sizes.astype(np.float32))


def every(scales):
    return torch.ones_like(scales, dtype=torch.bool)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("spread", [0.3, 5.0])
def test_short_scales_are_their_parts_exactly(up, spread):
    scales = drawn(spread)
    made = short(scales, every(scales), up=up)
    steps, factors = split(made.numpy())
    assert steps.dtype == np.int8 and (steps != 0).all() and factors.shape == (len(scales), 1)
    np.testing.assert_array_equal(steps.astype(np.float32) * factors, made.numpy())
    np.testing.assert_array_equal(short(made, every(made), up=up).numpy(), made.numpy())
    assert (torch.sign(made) == torch.sign(scales)).all()
    most = scales.abs().amax(1, keepdim=True) / LARGEST
    assert ((made - scales).abs() <= most * (1.001 if up or spread > 1 else 0.501)).all()
    assert not up or (made.abs() >= scales.abs()).all()


def test_a_block_of_zeros_makes_no_scale_of_its_row_less_exact():
    scales, seen = drawn(), every(drawn())
    scales[:, 3], seen[:, 3], seen[7] = 1.0, False, False
    made = short(scales, seen, up=False)
    kept = [column for column in range(18) if column != 3]
    np.testing.assert_array_equal(made[:7, kept], short(scales[:7, kept], seen[:7, kept], up=False))
    assert torch.isfinite(made).all() and (made != 0).all() and split(made.numpy()) is not None


def test_other_scales_are_told_apart():
    assert split(drawn().numpy()) is None
    assert split(np.zeros((2, 3), np.float32)) is not None


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_what_is_rounded_has_short_scales_and_codes_that_are_chosen_for_them(bits, symmetric):
    weight = np.random.default_rng(1).standard_normal((40, 96)).astype(np.float32)
    weight[5, 32:64], weight[6] = 0, 0
    kind = grid(32, bits=bits, symmetric=symmetric)
    for found in (round_matrix(weight, kind), compensate(weight, torch.eye(96), kind)):
        assert split(found.scales) is not None
        steps = np.repeat(np.abs(found.scales), 32, axis=1)
        off = np.abs(found.floats() - weight) / steps
        assert np.quantile(off, 0.9) <= 0.5 and (found.floats()[6] == 0).all()
        if bits == 8:  # of so many bits one clipped weight would lose more than all others
            assert off.max() < 1.01


def test_a_file_holds_them_in_a_byte_and_the_runtime_computes_the_same(tmp_path):
    toy = Toy()
    decoder = toy.decoder()
    weights = RoundedWeights(decoder=decoder, checkpoint=toy, grids=uniform(decoder, grid(32)))
    engine = written(decoder, weights, tmp_path / "out", accuracy=0)
    tokens = np.random.default_rng(1).integers(0, WORDS, (2, 20))
    with load_backend("onnxruntime").decode(engine, 2) as decoding:
        assert away(logits(decoding, tokens, 20), computed(decoder, weights, tokens)) < 1e-4
    stored = dict.fromkeys(("steps", "factors"), 0)
    import onnx

    for tensor in onnx.load(engine.path, load_external_data=False).graph.initializer:
        kind = tensor.name.rpartition(".")[2]
        assert kind != "scales"
        if kind in stored:
            stored[kind] += 1
            assert tensor.data_type == (onnx.TensorProto.INT8 if kind == "steps" else onnx.TensorProto.FLOAT)
    assert stored["steps"] == stored["factors"] > 0
