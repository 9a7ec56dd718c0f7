"""A family's description computes what transformers' module does, at once and token by token; so does the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgepress.exporter.language.reference import TorchReference

from ._families import MODELS, made, opened
from ._torch_writer import TorchWriter

Floats = npt.NDArray[np.float32]


def away(got: Floats, want: Floats) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


@pytest.mark.parametrize("name", MODELS)
def test_a_description_computes_what_transformers_does(name: str, tmp_path: Path) -> None:
    model = made(name, tmp_path)
    module, decoder, checkpoint = opened(tmp_path)
    tokens = np.random.default_rng(0).integers(0, decoder.vocabulary, (2, 23))
    with torch.no_grad():
        want = model(torch.from_numpy(tokens)).logits.numpy()
    assert away(TorchWriter(checkpoint).run(decoder, tokens), want) < 1e-4
    by_token = TorchWriter(checkpoint)
    parts = [
        by_token.run(decoder, tokens[:, :9]),
        *(by_token.run(decoder, tokens[:, at : at + 1]) for at in range(9, 23)),
    ]
    assert away(np.concatenate(parts, 1), want) < 1e-4
    assert away(TorchReference(module, decoder, checkpoint).logits(tokens, chunk=5), want) < 1e-5
    assert want.std(-1).min() > 0.05  # the words differ in what they are given
