"""A decoder's engine judged on text: what it loses is seen, and what computes something else is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepress.backends.base import Engine
from edgepress.backends.registry import load_backend
from edgepress.errors import VerificationError
from edgepress.exporter.decoding.candidate import Rounded
from edgepress.exporter.decoding.judging import LEAST_WINDOWS, WINDOWS, AskedText, asked, window_count, windows_of
from edgepress.exporter.decoding.proof import (
    proven_text,
    said_by_weights,
    same_as_library,
    same_as_reference,
    same_as_weights,
)
from edgepress.exporter.decoding.rounding import Rounding
from edgepress.exporter.decoding.writing import WrittenText, by_engine, by_library
from edgepress.exporter.language.quantize import RoundedWeights, uniform
from edgepress.exporter.language.writers.onnxruntime import Genai
from edgepress.exporter.sources.huggingface import load
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.language import Bits

from ..._llama import saved_llama

TARGET = load_target("server-cpu")
NOTHING = WrittenText(prompt=(0,), tokens=(0,))
INT4 = Grid(bits=4, signed=True, symmetric=True, granularity="block", block=32, whole=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return load(str(saved_llama(tmp_path_factory.mktemp("tiny"), initializer_range=0.2)), False)


@pytest.fixture(scope="module")
def judge(source, tmp_path_factory):
    tokens = np.random.default_rng(0).integers(0, source.decoder.vocabulary, 400)
    path = tmp_path_factory.mktemp("judge") / "answers"
    text = AskedText(said="drawn tokens", windows=windows_of(tokens, 4, 32), answers=path)
    return asked(source.reference(), [text], lambda *_: None)[0]


class Turned:
    """A checkpoint whose last matrix before the head has its outputs in the wrong order."""

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint

    def array(self, tensor):
        array = self.checkpoint.array(tensor)
        return np.ascontiguousarray(array[::-1]) if tensor.name.endswith("layers.1.mlp.down_proj.weight") else array


def made(source, directory: Path, grid: Grid | None) -> tuple[Engine, Rounding]:
    weights = RoundedWeights(decoder=source.decoder, checkpoint=source.checkpoint, grids=uniform(source.decoder, grid))
    written = Genai().write(
        source.decoder, weights, directory, target=TARGET, tokenizer=None, advance=lambda share: None
    )
    precision = "fp32" if grid is None else "int4"
    engine = Engine(
        path=written.path,
        backend="onnxruntime",
        target=TARGET,
        precision=precision,
        inputs=written.inputs,
        outputs=written.outputs,
    )
    rounded = Rounded(digest="", bits=Bits(layers=(), how=""))
    return engine, Rounding(title=precision, precision=precision, weights=weights, rounded=rounded)


def opened(engine: Engine):
    return load_backend("onnxruntime").decode(engine, 1)


def test_fp32_loses_nothing_and_strays_nowhere(source, judge, tmp_path):
    engine, rounding = made(source, tmp_path, None)
    with opened(engine) as decoding:
        parity = judge.parity(judge.told(decoding), "the engine")
        text = by_library(engine, judge.windows[0], source.decoder.context, 1, most=48)
        said, before = said_by_weights(source, rounding, judge, text)
        assert proven_text(rounding, judge, said, decoding)[1] < 1e-6
        same_as_library(decoding, text, "fp32")
        assert by_engine(decoding, judge.windows[0], source.decoder.context, most=48).tokens == text.tokens
    assert (len(text.tokens), text.why_not) == (48, "")
    assert same_as_reference(source, text) == same_as_weights(rounding, text, before) == 48
    assert source.reference().greedy(text.prompt, 48) == list(text.tokens)
    assert parity.kl == pytest.approx(0, abs=1e-6)
    assert (parity.agreement, parity.after) == (1.0, pytest.approx(parity.before, rel=1e-4))
    assert parity.before == pytest.approx(judge.before, rel=1e-6)


def test_what_int4_loses_is_seen_and_is_of_its_weights_and_not_of_the_engine(source, judge, tmp_path):
    engine, rounding = made(source, tmp_path, INT4)
    with opened(engine) as decoding:
        parity = judge.parity(judge.told(decoding), "the engine")
        said, _ = said_by_weights(source, rounding, judge, NOTHING)
        _, strays = proven_text(rounding, judge, said, decoding)
    assert parity.kl > 0.01
    assert strays < parity.kl / 4


def test_an_engine_of_other_weights_is_refused(source, judge, tmp_path):
    engine, rounding = made(source, tmp_path, INT4)
    weights = RoundedWeights(
        decoder=source.decoder, checkpoint=Turned(source.checkpoint), grids=dict(rounding.weights.grids)
    )
    said, _ = said_by_weights(source, replace(rounding, weights=weights), judge, NOTHING)
    with opened(engine) as decoding, pytest.raises(VerificationError, match="does not compute what its weights say"):
        proven_text(rounding, judge, said, decoding)


def test_tokens_written_as_fp32_are_counted_up_to_the_first_that_it_would_not_write(source, judge, tmp_path):
    """One reading of the text tells what FP32's own writing, token by token, does."""
    engine, rounding = made(source, tmp_path, INT4)
    with opened(engine) as decoding:
        text = by_engine(decoding, judge.windows[0], source.decoder.context, most=48)
    truth = source.reference().greedy(text.prompt, 48)
    first = next((i for i, (one, other) in enumerate(zip(truth, text.tokens, strict=True)) if one != other), 48)
    assert same_as_reference(source, text) == first < 48
    assert same_as_weights(rounding, text, said_by_weights(source, rounding, judge, text)[1]) > first
    other = WrittenText(prompt=text.prompt, tokens=(0,) * 48)
    with pytest.raises(VerificationError, match="is not what its weights say"):
        same_as_weights(rounding, other, said_by_weights(source, rounding, judge, other)[1])


def test_windows_are_spread_over_the_text_and_get_short_with_it():
    tokens = np.arange(1000)
    windows = windows_of(tokens, 4, 100)
    assert windows.shape == (4, 100)
    assert (windows[0, 0], windows[-1, -1]) == (0, 999)
    assert windows_of(np.arange(9), 16, 256).shape == (2, 4)
    with pytest.raises(ValueError, match="at least 4"):
        windows_of(np.arange(3))


def test_larger_decoders_are_asked_fewer_windows():
    assert [window_count(size) for size in (1_000_000, 135_000_000, 1_100_000_000)] == [WINDOWS, WINDOWS, LEAST_WINDOWS]
