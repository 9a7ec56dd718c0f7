"""Decoders as OpenVINO reads them compute what transformers' modules do, in floats and in integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgepress.backends.base import Engine
from edgepress.backends.decoding import Decoding
from edgepress.backends.openvino import OpenVino
from edgepress.exporter.language.decoder import Decoder
from edgepress.exporter.language.weights import Weights
from edgepress.exporter.language.writers.openvino import OpenVinoGenai
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target

from ._families import MODELS, made, opened
from ._rounded import Plain, Rounded

Floats = npt.NDArray[np.float32]
INT4 = Grid(bits=4, signed=True, symmetric=True, granularity="block", block=32, whole=True)


def away(got: Floats, want: Floats) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


def written(decoder: Decoder, weights: Weights, directory: Path) -> Engine:
    directory.mkdir()
    target = load_target("cpu")
    made = OpenVinoGenai().write(
        decoder, weights, directory, target=target, tokenizer=None, advance=lambda share: None
    )
    return Engine(
        path=made.path, backend="openvino", target=target, precision="fp32", inputs=made.inputs, outputs=made.outputs
    )


def in_parts(decoding: Decoding, tokens: npt.NDArray[np.int64], *counts: int) -> Floats:
    decoding.reset()
    ends = np.cumsum(counts)
    return np.concatenate([decoding(tokens[:, end - count : end]) for end, count in zip(ends, counts, strict=True)], 1)


@pytest.mark.parametrize("name", MODELS)
def test_a_family_computes_what_transformers_does(name: str, tmp_path: Path) -> None:
    model = made(name, tmp_path)
    _, decoder, checkpoint = opened(tmp_path)
    tokens = np.random.default_rng(0).integers(0, decoder.vocabulary, (2, 13))
    with torch.no_grad():
        want = model(torch.from_numpy(tokens)).logits.numpy()
    engine = written(decoder, Plain(decoder, checkpoint), tmp_path / "engine")
    with OpenVino().decode(engine, threads=1) as decoding:
        assert away(in_parts(decoding, tokens, 13), want) < 1e-4
        assert away(in_parts(decoding, tokens, *[1] * 13), want) < 1e-4
        assert away(in_parts(decoding, tokens, 7, 1, 5), want) < 1e-4
