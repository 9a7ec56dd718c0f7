"""Agreement of two decoders, against what torch says of the same logits."""

import numpy as np
import pytest
import torch

from edgepress.exporter.language.agreement import Likening, half_width, spread, windows

RNG = np.random.default_rng(0)


def window(count=150, vocabulary=50, noise=0.5):
    reference = (3 * RNG.normal(size=(count, vocabulary))).astype(np.float32)
    tokens = RNG.integers(0, vocabulary, count)
    return reference, (reference + noise * RNG.normal(size=reference.shape)).astype(np.float32), tokens


def test_perplexity_agreement_and_divergence_are_torchs():
    given = [window() for _ in range(4)]
    comparison = Likening()
    for each in given:
        comparison.add(*each)
    found = comparison.result()
    reference, logits = (torch.from_numpy(np.concatenate([each[i] for each in given])) for i in (0, 1))
    entropy = torch.nn.functional.cross_entropy
    losses = [entropy(torch.from_numpy(each[1][:-1]), torch.from_numpy(each[2][1:])) for each in given]
    assert found.perplexity == pytest.approx(float(torch.stack(losses).mean().exp()), rel=1e-5)
    kl = torch.nn.functional.kl_div(logits.log_softmax(-1), reference.log_softmax(-1), log_target=True, reduction="sum")
    assert found.divergence == pytest.approx(float(kl) / 600, rel=1e-4)
    assert found.agreeing == pytest.approx(float((reference.argmax(-1) == logits.argmax(-1)).float().mean()))
    assert found.low <= found.ratio <= found.high and (found.tokens, found.windows) == (596, 4)


def test_a_decoder_agrees_with_itself():
    reference, _, tokens = window()
    comparison = Likening()
    comparison.add(reference, reference, tokens)
    found = comparison.result()
    assert (found.ratio, found.low, found.high, found.agreeing, found.divergence) == (1, 1, 1, 1, 0)


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    held = sum(abs((samples := RNG.normal(size=8)).mean()) <= half_width(samples) for _ in range(2000))
    assert 0.93 < held / 2000 < 0.97


@pytest.mark.parametrize(("count", "expected"), [(100, [32, 32, 32]), (32, [32]), (20, [20]), (1, [])])
def test_windows_do_not_overlap(count, expected):
    found = list(windows(np.arange(count), 32))
    assert [len(each) for each in found] == expected
    assert not found or np.array_equal(np.concatenate(found), np.arange(sum(expected)))
    assert len(list(windows(np.arange(count), 32, most=1))) == min(1, len(expected))


@pytest.mark.parametrize(
    ("tokens", "count", "shape"), [(1000, 4, (4, 32)), (70, 9, (2, 32)), (20, 3, (1, 20)), (0, 3, (0, 32))]
)
def test_windows_to_calibrate_on_come_from_all_over_a_text(tokens, count, shape):
    found = spread(np.arange(tokens), 32, count)
    assert found.shape == shape and len({tuple(each) for each in found}) == len(found)
    assert not tokens or found.max() >= tokens - 64


def test_shapes_that_do_not_go_together_are_refused():
    reference, logits, tokens = window()
    with pytest.raises(ValueError, match="150"):
        Likening().add(reference, logits[:-1], tokens)
    with pytest.raises(ValueError, match="no window"):
        Likening().result()
