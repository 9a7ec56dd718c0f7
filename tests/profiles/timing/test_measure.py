"""Latency: a clock that the test moves, so that every figure is known beforehand; one test with real time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import numpy as np
import pytest

from edgepress.profiles.timing.measure import CallArm, Record, Settings, interleave, is_steady, measure
from edgepress.profiles.timing.measurement import Measurement
from edgepress.profiles.timing.ratio import speedup

MS = 1_000_000
QUICKER = Settings(warmup_seconds=0.1, warmup_count=3, seconds=1.0, samples=50, slice_seconds=0.1, settle_count=2)


class FakeTime:
    """A clock that only calls move forward; it writes down which arm was called."""

    def __init__(self) -> None:
        self.now = 0
        self.called: list[str] = []

    def __call__(self) -> int:
        return self.now

    def arm(self, name: str, duration: Callable[[int], float]) -> Callable[[], None]:
        """A call that takes `duration(n)` milliseconds at its n-th time."""
        count = 0

        def call() -> None:
            nonlocal count
            self.called.append(name)
            self.now += int(duration(count) * MS)
            count += 1

        return call


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


def measured(samples: list[float], stable: bool = True) -> Measurement:
    data = tuple(int(s * MS) for s in samples)
    return Measurement(samples=data, rounds=tuple(i // 10 for i in range(len(data))), stable=stable)


def test_arms_take_turns_in_abba_order_after_a_warm_up_each(clock: FakeTime) -> None:
    calls = {"a": clock.arm("a", lambda n: 1), "b": clock.arm("b", lambda n: 4)}
    measure(calls, QUICKER, clock=clock)
    turns = [(name, len(list(run))) for name, run in groupby(clock.called)]
    # 0.1 s of warm-up: 100 calls of 1 ms, then 25 of 4 ms, followed by the slices: 2 calls to settle and 0.1 s.
    assert turns[0] == ("a", 100)
    assert turns[1] == ("b", 25)
    slices = {"a": 2 + 100, "b": 2 + 25}
    assert turns[2:5] == [("a", 102), ("b", 2 * slices["b"]), ("a", 2 * slices["a"])]
    assert {count for _, count in turns[3:-1]} == {2 * slices["a"], 2 * slices["b"]}


def test_raw_samples_are_kept_in_order_with_their_round(clock: FakeTime) -> None:
    found = measure({"a": clock.arm("a", lambda n: 1 + n % 7)}, QUICKER, clock=clock)["a"]
    count = len(found.samples)
    assert len(found.rounds) == count >= QUICKER.samples
    assert sorted(set(found.rounds)) == list(range(max(found.rounds) + 1))
    assert list(found.rounds) == sorted(found.rounds)
    assert set(found.samples) == {MS * k for k in range(1, 8)}
    assert sum(found.samples) >= QUICKER.seconds * 1e9


def test_warm_up_counts_calls_where_they_are_slow(clock: FakeTime) -> None:
    slow = Settings(warmup_seconds=0, warmup_count=5, seconds=0.02, samples=20, slice_seconds=0.001, settle_count=0)
    found = measure({"a": clock.arm("a", lambda n: 1000 if n < 5 else 1)}, slow, clock=clock)["a"]
    assert max(found.samples) == MS  # none of the five slow ones was counted


def test_every_arm_gets_its_seconds_and_its_samples(clock: FakeTime) -> None:
    found = measure(
        {"fast": clock.arm("fast", lambda n: 0.5), "slow": clock.arm("slow", lambda n: 60)}, QUICKER, clock=clock
    )
    assert all(len(m.samples) >= QUICKER.samples for m in found.values())
    assert all(sum(m.samples) >= QUICKER.seconds * 1e9 for m in found.values())


def test_progress_reaches_the_end_and_never_turns_back(clock: FakeTime) -> None:
    shares: list[float] = []
    measure({"a": clock.arm("a", lambda n: 1)}, QUICKER, shares.append, clock)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_call_that_drifts_is_extended_to_the_cap_and_called_unstable(clock: FakeTime) -> None:
    found = measure({"a": clock.arm("a", lambda n: 1 + n / 500)}, QUICKER, clock=clock)["a"]
    assert not found.stable
    assert QUICKER.cap <= sum(found.samples) / 1e9 / QUICKER.seconds <= QUICKER.cap * 1.1
    steady = measure({"a": clock.arm("a", lambda n: 1)}, QUICKER, clock=clock)["a"]
    assert steady.stable
    assert sum(steady.samples) / 1e9 < QUICKER.seconds * 1.2


def test_a_call_that_settles_during_the_measurement_becomes_steady(clock: FakeTime) -> None:
    found = measure({"a": clock.arm("a", lambda n: 3 if n < 300 else 1)}, QUICKER, clock=clock)["a"]
    assert found.stable


@pytest.mark.parametrize(("drift", "steady"), [(0.0, True), (0.02, True), (0.05, False), (-0.05, False)])
def test_steady_means_that_the_last_five_windows_agree_within_the_tolerance(drift: float, steady: bool) -> None:
    levels = [2.0] * 5 + [1.0] * 4 + [1.0 + drift]
    assert is_steady([int(level * MS) for level in levels for _ in range(20)], 0.03) is steady


def test_a_warm_up_goes_on_until_the_calls_are_steady_or_its_cap_is_reached(clock: FakeTime) -> None:
    cold = Settings(warmup_seconds=0.1, warmup_count=3, cap=5)
    settling = CallArm(clock.arm("a", lambda n: max(1.0, 5 - n / 20)), clock)
    settling.warm(cold)
    assert clock.now > 0.1e9
    assert settling.slice(QUICKER)[0] == MS
    clock.now = 0
    CallArm(clock.arm("a", lambda n: 1 + n / 10), clock).warm(cold)
    assert 0.5e9 <= clock.now < 0.6e9


def test_a_clock_that_is_set_back_costs_those_calls_their_time_and_the_steadiness(clock: FakeTime) -> None:
    """The calls are counted, no figure is invented, and the run does not wait for the clock to catch up."""
    count = 0

    def call() -> None:
        nonlocal count
        count += 1
        clock.now += MS if count not in (500, 700) else -3_600_000 * MS

    found = measure({"a": call}, QUICKER, clock=clock)["a"]
    assert found.clock_faults == 2
    assert set(found.samples) == {MS}
    assert not found.stable
    assert count < 5000


def test_a_clock_that_is_set_back_between_two_calls_prolongs_nothing(clock: FakeTime) -> None:
    """One reading ends a call, the next begins another: a jump between them belongs to neither."""
    readings = 0

    def jumping() -> int:
        nonlocal readings
        readings += 1
        if readings == 901:
            clock.now -= 3_600_000 * MS
        return clock.now

    found = measure({"a": clock.arm("a", lambda n: 1)}, QUICKER, clock=jumping)["a"]
    assert set(found.samples) == {MS}
    assert len(clock.called) < 5000


def test_a_clock_that_jumps_ahead_is_an_outlier_and_does_not_end_the_measurement(clock: FakeTime) -> None:
    found = measure({"a": clock.arm("a", lambda n: 1 if n != 150 else 3_600_000)}, QUICKER, clock=clock)["a"]
    assert len(found.samples) >= QUICKER.samples
    assert (found.outliers, max(found.samples)) == (1, 3_600_000 * MS)
    assert found.latency().p50 == 1


def test_what_was_taken_before_an_arm_fails_is_kept(clock: FakeTime) -> None:
    record = Record()

    def failing(n: int) -> float:
        if n == 555:
            raise RuntimeError("the engine is gone")
        return 1

    with pytest.raises(RuntimeError):
        interleave({"a": CallArm(clock.arm("a", failing), clock)}, {"a": record}, QUICKER)
    found = record.measurement(QUICKER)
    assert 300 < len(found.samples) < 555
    assert set(found.samples) == {MS}


def test_few_samples_are_never_steady() -> None:
    assert not is_steady([MS] * 9, 0.03)


@pytest.mark.parametrize(
    ("count", "carried"),
    [
        (1, []),
        (2, [50]),
        (99, [50]),
        (100, [50, 90]),
        (200, [50, 90, 95]),
        (999, [50, 90, 95]),
        (1000, [50, 90, 95, 99]),
        (9_999, [50, 90, 95, 99]),
        (10_000, [50, 90, 95, 99, 99.9]),
    ],
)
def test_a_percentile_is_given_only_where_the_samples_carry_it(count: int, carried: list[float]) -> None:
    found = measured([1.0] * count).latency()
    given = {50: found.p50, 90: found.p90, 95: found.p95, 99: found.p99, 99.9: found.p99_9}
    assert [p for p, value in given.items() if value is not None] == carried


def test_percentiles_of_a_known_distribution() -> None:
    found = measured(list(np.random.default_rng(0).permutation(np.arange(1.0, 1001.0)))).latency()
    assert found.p50 == pytest.approx(500.5)
    assert found.p90 == pytest.approx(900.1)
    assert found.p99 == pytest.approx(990.01)
    assert (found.least, found.mean, found.samples) == (1.0, pytest.approx(500.5), 1000)


def test_outliers_are_counted_and_stay_in_every_figure() -> None:
    clean, spiked = measured([1.0, 1.1] * 100), measured([1.0, 1.1] * 100 + [50.0] * 3)
    assert (clean.outliers, spiked.outliers) == (0, 3)
    near = measured([1.0, 1.1] * 100 + [1.3] * 2 + [50.0] * 3)  # 1.1 + 1.5 * 0.1 = 1.25, 1.1 + 3 * 0.1 = 1.4
    assert (near.outliers, near.far_outliers) == (5, 3)
    assert len(spiked.samples) == 203
    assert spiked.latency().mean > 1.5 * clean.latency().mean
    assert spiked.latency().variation > 1


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.7, 4.0])
def test_the_interval_of_the_speed_up_covers_the_ratio_while_the_machine_drifts(clock: FakeTime, ratio: float) -> None:
    rng = np.random.default_rng(1)

    def drifting(base: float) -> Callable[[int], float]:
        # The whole machine slows down to half its speed within the measurement, and every call has 10 % of noise.
        return lambda n: base * (1 + clock.now / 4e9) * rng.normal(1, 0.1)

    found = measure(
        {"slow": clock.arm("s", drifting(ratio)), "fast": clock.arm("f", drifting(1.0))}, QUICKER, clock=clock
    )
    faster = speedup(found["slow"], found["fast"])
    assert faster.low <= ratio * 1.005
    assert faster.high >= ratio * 0.995
    assert faster.low <= faster.value <= faster.high
    assert faster.high - faster.low < 0.1 * ratio
    assert speedup(found["slow"], found["fast"]) == faster  # the bootstrap is seeded
