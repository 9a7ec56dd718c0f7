"""Golden text of a decoder: what is written, what passes and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepress.errors import VerificationError
from edgepress.exporter.bundle.text_golden import (
    FILE,
    LEAST_OWN,
    TextBounds,
    TextGolden,
    bounds_of,
    check_text,
    divergence,
    golden_of,
    likeliest,
    named_part,
)

VOCABULARY = 200


def drawn(seed: int, spread: float = 2.0) -> np.ndarray:
    return (spread * np.random.default_rng(seed).standard_normal((2, 16, VOCABULARY))).astype(np.float32)


def golden(noise: float = 0.05, spread: float = 2.0) -> tuple[TextGolden, np.ndarray]:
    """Golden text of an engine that is some noise away from FP32, and the engine's logits."""
    reference = drawn(0, spread)
    engine = reference + noise * spread * drawn(1, 1.0)
    tokens = np.random.default_rng(2).integers(0, VOCABULARY, (2, 16))
    return golden_of(zip(tokens, reference, engine, strict=True)), engine


def answers(found: TextGolden, logits: np.ndarray) -> np.ndarray:
    return np.stack([named_part(one, named) for one, named in zip(logits, found.named, strict=True)])


def test_the_named_part_and_the_rest_are_all_of_the_probability():
    logits = drawn(3)[0]
    named = likeliest(logits, 5)
    part = named_part(logits, named)
    whole = np.exp(logits.astype(np.float64))
    whole /= whole.sum(-1, keepdims=True)
    assert named.tolist() == np.argsort(-logits, axis=-1)[:, :5].tolist()
    np.testing.assert_allclose(np.exp(part[:, :5]), np.take_along_axis(whole, named.astype(int), -1), rtol=1e-5)
    np.testing.assert_allclose(np.exp(part.astype(np.float64)).sum(-1), 1, atol=1e-5)


def test_the_divergence_is_at_most_that_of_all_tokens_and_near_it():
    reference, engine = drawn(0)[0], drawn(0)[0] + 0.2 * drawn(1, 1.0)[0]
    named = likeliest(reference, 64)
    found = divergence(named_part(reference, named), named_part(engine, named)).mean()
    first, second = (x - np.log(np.exp(x.astype(np.float64)).sum(-1, keepdims=True)) for x in (reference, engine))
    whole = (np.exp(first) * (first - second)).sum(-1).mean()
    assert 0.5 * whole < found <= whole


def test_it_is_read_as_it_was_written(tmp_path: Path):
    found, _ = golden()
    found.save(tmp_path)
    again = TextGolden.load(tmp_path)
    for name in ("tokens", "named", "reference", "own"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


def test_the_engine_as_it_was_proven_passes_and_so_does_one_that_sums_otherwise():
    found, engine = golden()
    bounds = bounds_of(found)
    check_text(found, found.own, bounds)
    check_text(found, answers(found, engine + 1e-3 * drawn(5, 1.0)), bounds)


@pytest.mark.parametrize("spread", [2.0, 0.01], ids=["sure of itself", "sure of nothing"])
def test_another_engine_does_not_pass(spread: float):
    found, engine = golden(spread=spread)
    with pytest.raises(VerificationError, match=r"nats a token from|dB of SQNR"):
        check_text(found, answers(found, engine[:, ::-1]), bounds_of(found))


def test_one_that_drifts_away_from_the_proven_one_does_not_pass():
    found, engine = golden()
    with pytest.raises(VerificationError, match="the engine as it was proven"):
        check_text(found, answers(found, engine + 0.5 * drawn(6, 1.0)), replace(bounds_of(found), fp32=10.0))


def test_bounds_follow_what_was_seen():
    assert bounds_of(golden(noise=0.0)[0]) == TextBounds(fp32=2 * LEAST_OWN, own=LEAST_OWN)
    found, _ = golden(noise=0.2)
    seen = divergence(found.reference, found.own).mean()
    assert bounds_of(found).fp32 == pytest.approx(2 * seen)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("own", lambda x: np.full_like(x, np.nan)),
        ("own", lambda x: x[:, :-1]),
        ("own", lambda x: x + 1),
        ("reference", lambda x: x.astype(np.float64)),
        ("named", lambda x: x.astype(np.int64)),
        ("named", lambda x: x - 100_000),
        ("tokens", lambda x: x[:1]),
        ("tokens", lambda x: x.astype(np.int32)),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(tmp_path: Path, name, change):
    found, _ = golden()
    replace(found, **{name: change(getattr(found, name))}).save(tmp_path)
    with pytest.raises(VerificationError, match="do not fit each other"):
        TextGolden.load(tmp_path)


def test_a_file_that_is_missing_cut_short_or_another_one_is_refused(tmp_path: Path):
    with pytest.raises(VerificationError, match="cannot be read"):
        TextGolden.load(tmp_path)
    golden()[0].save(tmp_path)
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(VerificationError, match="cannot be read"):
        TextGolden.load(tmp_path)
    np.savez(file, tokens=np.zeros((1, 2), np.int64))
    with pytest.raises(VerificationError, match="does not hold"):
        TextGolden.load(tmp_path)
