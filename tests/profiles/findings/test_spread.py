"""What a few samples say of others, held against draws of others."""

import numpy as np
import pytest

from edgepress.profiles.findings.parity import assured_db, parity, worst
from edgepress.profiles.findings.spread import FEWEST, SampleSums, gained


def compared(samples, spread, seed, rows=1):
    """Samples whose amplitudes are so far apart, with the same noise on each, in feeds of so many rows."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(0, spread, (samples, 1)))
    right = (scale * rng.normal(size=(samples, 64))).astype(np.float32)
    found = right + rng.normal(0, 0.05, right.shape).astype(np.float32)
    cut = range(0, samples, rows)
    return parity(*([{"y": array[at : at + rows]} for at in cut] for array in (right, found)), by_sample={"y": 0})


def of_rows(right, found):
    """One feed, each row of which is a sample."""
    return parity([{"y": right}], [{"y": found}], by_sample={"y": 0})["y"]


@pytest.mark.parametrize("spread", [0.1, 0.5])
@pytest.mark.parametrize("rows", [1, 8])
def test_nineteen_of_twenty_sets_of_others_are_above_it(spread, rows):
    true_db = worst(compared(20_000, spread, seed=0)).sqnr_db
    held = [assured_db(compared(32, spread, seed, rows)) <= true_db for seed in range(1, 101)]
    # 0.95 in theory; 0.87 is where a hundred draws would no longer show that.
    assert 0.87 <= np.mean(held) <= 1.0


def test_alike_samples_leave_little_doubt():
    found = worst(compared(32, 0.05, seed=3))
    assert found.sqnr_db - 0.5 < found.lower_db < found.sqnr_db


def test_one_sample_that_holds_nearly_all_of_the_signal_leaves_much():
    right = np.ones((32, 4), np.float32)
    right[0] = 1000
    found = of_rows(right, right + 0.1)
    assert found.sqnr_db > 60 and found.lower_db < 20  # 20 dB are what the others have
    assert found.reaches(40) and not found.assures(40)


def test_samples_that_hold_the_signal_are_counted_where_they_are_few():
    right = np.ones((32, 4), np.float32)
    assert of_rows(right, right + 0.1).few is None
    right[:3] = 100
    assert str(of_rows(right, right + 0.1).few) == "3 of 32 samples"
    right[:9] = 100  # more than a quarter
    assert of_rows(right, right + 0.1).few is None


def test_few_samples_and_classes_say_nothing_of_others():
    few = {"y": np.ones((FEWEST - 1, 3), np.float32)}, {"y": np.full((FEWEST - 1, 3), 1.1, np.float32)}
    classes = {"y": np.arange(64)}, {"y": np.arange(64) // 2}
    for right, found in (few, classes):
        (one,) = parity([right], [found], by_sample={"y": 0}).values()
        assert one.lower_db is None and one.assured_db == one.weakest_db


def test_equal_outputs_leave_no_doubt_and_a_single_wrong_sample_all_of_it():
    right = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    other = right.copy()
    equal = of_rows(right, other)
    other[3] += 1
    wrong = of_rows(right, other)
    assert equal.lower_db == np.inf and wrong.lower_db < 3


def test_where_a_few_samples_hold_the_signal_the_one_in_the_middle_counts():
    right = np.ones((32, 4), np.float32)
    right[:6] = 100
    found = of_rows(right, right * 1.01 + 0.3 * (right < 2))
    assert found.sqnr_db > 30 and found.lower_db == pytest.approx(20 * np.log10(1 / 0.31), abs=0.1)


def test_where_the_worst_sample_is_good_there_is_no_doubt():
    """One of 16 has nearly all of the noise, which widens the interval far beyond it."""
    rng = np.random.default_rng(0)
    right = rng.normal(size=(16, 64)).astype(np.float32)
    noise = rng.normal(size=right.shape) * np.where(np.arange(16) == 3, 0.28, 0.01)[:, None]
    found = of_rows(right, (right + noise).astype(np.float32))
    assert 10 < found.lower_db < 12 < 20 < found.sqnr_db


def test_rows_that_are_no_samples_say_nothing_of_others():
    """A decay over time, rows of which are thousands of times apart."""
    right = np.exp(-np.arange(40) / 4)[:, None] * np.ones((40, 16))
    (found,) = parity([{"y": right}], [{"y": right + 0.01}]).values()
    assert found.lower_db is None and of_rows(right, right + 0.01).lower_db < found.sqnr_db


def test_samples_whose_answer_is_nothing_are_no_ratio():
    """Digital silence, of which 28 of 32 samples are, and int8 rounds it."""
    rng = np.random.default_rng(0)
    right = rng.normal(0, 0.2, (32, 8)) * (np.arange(32) < 4)[:, None]
    found = of_rows(right, right + 1e-3)
    assert found.sqnr_db > 35 and 30 < found.lower_db < found.sqnr_db


def test_noise_counts_beside_what_is_heard_where_the_answer_is_all_but_nothing():
    """A detector of what is rare: a hundredth of the probability that float says of the others matters to nobody."""
    right = np.full((32, 1), 1e-5)
    right[:3] = 0.99
    near, off = of_rows(right, right + 1e-4), of_rows(right, right + 0.05 * (right < 0.5))
    assert near.sqnr_db > 50 and near.lower_db > 40
    assert off.sqnr_db > 16 and off.lower_db < 0  # 0.05 is more than what is heard beside 0.99


@pytest.mark.parametrize("wrong", [0, 1, 31])
def test_one_answer_among_nothing_leaves_a_number(wrong):
    right = np.zeros((32, 4))
    right[0] = 1
    found = right.copy()
    found[wrong] += 0.01
    assert np.isfinite(of_rows(right, found).lower_db)
    found[0] += 0.01
    assert np.isfinite(of_rows(right, found).lower_db)


def test_samples_without_noise_beside_silence_with_it_leave_a_number():
    """In the middle of these lay -inf and inf, and between them what is no number."""
    right = np.zeros((32, 4))
    right[:3], right[3:16] = 100, 1
    found = of_rows(right, right + 0.5 * (right == 0))
    assert 30 < found.lower_db < found.sqnr_db


def test_answers_that_are_all_nothing_or_no_number_say_nothing_of_others():
    for right in (np.zeros((32, 4)), np.full((32, 4), np.nan)):
        assert of_rows(right, np.ones((32, 4))).lower_db is None


def sums(right, found, rows=8):
    """In feeds of so many rows."""
    return [
        SampleSums.of(right[at : at + rows], (right - found)[at : at + rows], axis=0)
        for at in range(0, len(right), rows)
    ]


def decibel(right, *found):
    return np.array([10 * np.log10((right**2).sum() / ((right - one) ** 2).sum()) for one in found])


def test_what_is_gained_is_that_of_the_worst_output_without_what_both_have_in_common():
    """By another way: the figures of all samples, and of all but one each."""
    rng = np.random.default_rng(0)
    right = {"a": rng.normal(size=(16, 5)), "b": 30 * rng.normal(size=(16, 3))}
    before = {name: values + 0.1 * rng.normal(size=values.shape) for name, values in right.items()}
    after = {name: values + 0.8 * (before[name] - values) for name, values in right.items()}
    after["b"] += 2 * rng.normal(size=right["b"].shape)  # which is the worst one now
    found = gained(*({n: sums(right[n], of[n]) for n in right} for of in (before, after)))

    def difference(left):
        worst_db = np.min([decibel(right[n][left], before[n][left], after[n][left]) for n in right], axis=0)
        return worst_db[1] - worst_db[0]

    every = np.arange(16)
    without = np.array([difference(every != one) for one in every])
    assert found.db == pytest.approx(difference(every >= 0))
    assert found.error_db == pytest.approx(np.sqrt(15 * without.var()))


def test_noise_that_two_have_in_common_leaves_no_doubt_of_their_difference():
    rng = np.random.default_rng(0)
    right, noise = (rng.normal(size=(8, 50)) * np.exp(rng.normal(0, 0.2, (8, 1))) for _ in range(2))
    found = gained({"y": sums(right, right + noise)}, {"y": sums(right, right + 0.5 * noise)})
    assert found.db == pytest.approx(20 * np.log10(2)) and found.error_db < 1e-9
    assert gained({"y": sums(right, right + noise)}, {"y": sums(right, right)}) is None  # endlessly better


def test_seven_samples_or_others_of_another_output_say_nothing_of_a_difference():
    right = np.ones((8, 5))
    few, enough = sums(right[:7], right[:7] + 0.1), sums(right, right + 0.1)
    assert gained({"y": few}, {"y": few}) is None and gained({"y": enough}, {"y": enough}) is not None
    assert gained({"y": enough, "z": few}, {"y": enough, "z": few}) is None


def test_where_one_sample_holds_the_noise_a_difference_says_nothing_of_others():
    """Of a real network, repvgg_a0, with either range method: 4 dB better on 16 samples, and 4 dB worse on 32."""
    right = np.random.default_rng(0).normal(size=(8, 50))
    before, after = right + 0.1, right + 0.09
    assert gained({"y": sums(right, before)}, {"y": sums(right, after)}).error_db < 1e-9
    after[3] += 0.3
    assert gained({"y": sums(right, before)}, {"y": sums(right, after)}) is None
    assert gained({"y": sums(right, after)}, {"y": sums(right, before)}) is None


def test_an_output_that_is_the_same_leaves_the_difference_to_the_others():
    right = np.random.default_rng(0).normal(size=(8, 50))
    exact = sums(right, right)
    before, after = ({"same": exact, "y": sums(right, right + noise)} for noise in (0.1, 0.05))
    assert gained(before, after).db == pytest.approx(20 * np.log10(2))


def test_samples_that_hold_the_noise_are_counted_one_by_one_in_many_feeds():
    rng = np.random.default_rng(0)
    right = rng.normal(size=(160, 4)).astype(np.float32)
    found = right + rng.normal(0, 1e-3, right.shape).astype(np.float32)
    even, cut = worst(_by_eight(right, found)), found.copy()
    cut[[3, 90]] += 1
    assert even.noisy is None and str(worst(_by_eight(right, cut)).noisy) == "2 of 160 samples"


def _by_eight(right, found):
    return parity(
        *([{"y": array[at : at + 8]} for at in range(0, 160, 8)] for array in (right, found)), by_sample={"y": 0}
    )
