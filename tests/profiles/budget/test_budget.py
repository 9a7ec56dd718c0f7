"""Budgets: how they are written, and that only what is measured beyond doubt breaks one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.errors import InputError
from edgepress.profiles.budget.budget import Budget
from edgepress.profiles.budget.limits import Drop, LatencyLimit, SizeLimit, TimeLimit
from edgepress.profiles.findings.figures import judge
from edgepress.profiles.findings.gap import Gap
from edgepress.profiles.findings.report import Report, Sizes, TaskMetric
from edgepress.profiles.machine.environment import this_machine
from edgepress.profiles.timing.measurement import Interval, Measurement

REPORT = Report(
    model="m",
    target="cpu",
    target_title="",
    backend="openvino",
    precision="int8",
    evidence=(),
    parity={},
    parity_how="",
    sizes=Sizes(weights_fp32=4_000_000, weights=1_000_000),
    machine=this_machine(),
    tools={},
    date="",
    command="",
)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("5ms", LatencyLimit(ms=5.0)),
        (" 0.5 ms ", LatencyLimit(ms=0.5)),
        ("p90=5ms", LatencyLimit(ms=5.0, percentile=90)),
        ("p50 = 250us", LatencyLimit(ms=0.25)),
        ("1s", LatencyLimit(ms=1000.0)),
        ("4MB", SizeLimit(bytes=4_000_000)),
        ("4MiB", SizeLimit(bytes=4 * 2**20)),
        ("300 kB", SizeLimit(bytes=300_000)),
        (".5GB", SizeLimit(bytes=500_000_000)),
        ("1%", Drop(amount=0.01, relative=True)),
        ("0.01", Drop(amount=0.01, relative=False)),
        ("0", Drop(amount=0.0, relative=False)),
    ],
)
def test_what_people_write(text: str, limit: LatencyLimit | SizeLimit | Drop) -> None:
    assert type(limit).parse(text) == limit


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((LatencyLimit, text) for text in ("1us", "0.5ms", "p90=250us", "1.5s", "3000ms")),
        *((TimeLimit, text) for text in ("2s", "500ms")),
        *((SizeLimit, text) for text in ("4MiB", "0.5GB", "1500kB", "7B", "7.3GiB", "0.1MiB")),
    ],
)
def test_a_limit_is_said_in_the_unit_that_it_was_written_in(kind: type[LatencyLimit], text: str) -> None:
    assert str(kind.parse(text)) == text


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (LatencyLimit, "5", ("no unit", "ms")),
        (LatencyLimit, "5mb", ("'mb' is unknown", "us")),
        (LatencyLimit, "0ms", ("more than 0",)),
        (LatencyLimit, "-1ms", ("more than 0",)),
        (LatencyLimit, "p97=1ms", ("'p97' is none of p50, p90",)),
        (LatencyLimit, "fast", ("'fast' is not a latency", "5ms")),
        (LatencyLimit, "nan ms", ("not a latency",)),
        (SizeLimit, "4", ("no unit", "MB")),
        (SizeLimit, "4mb", ("'mb' is unknown", "MB")),
        (SizeLimit, "0.1B", ("less than one byte",)),
        (Drop, "-1%", ("0 or more",)),
        (Drop, "101%", ("at most 100%",)),
        (Drop, "1dB", ("'dB' is unknown", "%")),
    ],
)
def test_a_fault_says_what_is_known(kind: type[Drop], text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        kind.parse(text)
    for word in words:
        assert word in str(caught.value)


@given(st.floats(1e-9, 1e12), st.sampled_from([50, 90]), st.integers(1, 10**15), st.floats(0, 1), st.booleans())
def test_a_limit_is_written_as_it_is_read(ms: float, percentile: int, size: int, amount: float, relative: bool) -> None:
    for limit in (
        LatencyLimit(ms=ms, percentile=percentile),
        SizeLimit(bytes=size),
        Drop(amount=amount, relative=relative),
    ):
        assert type(limit).parse(str(limit)) == limit


def test_a_drop_of_one_point_allows_one_point() -> None:
    assert Drop.parse("1%").allows(1.0, 0.99)
    assert Drop.parse("0.01").allows(0.5, 0.49)
    assert not Drop.parse("1%").allows(0.5, 0.49)
    assert not Drop.parse("1%").allows(1.0, 0.988)


def latency(value: float, low: float, high: float) -> Report:
    samples = Measurement(samples=tuple([int(value * 1e6)] * 300), rounds=tuple([0, 1, 2] * 100), stable=True)
    found = replace(samples.latency(), intervals={50: Interval(value=value, low=low, high=high)})
    return replace(REPORT, latency={"engine": found})


@pytest.mark.parametrize(
    ("value", "low", "high", "status"),
    [(4.0, 3.0, 6.0, "met"), (5.5, 4.5, 6.0, "undecided"), (5.5, 5.2, 6.0, "missed"), (5.0, 5.0, 5.0, "met")],
)
def test_a_latency_fails_by_its_interval_not_by_its_point(value: float, low: float, high: float, status: str) -> None:
    (verdict,) = judge(Budget.parse({"latency_p50": "5ms"}), latency(value, low, high))
    assert verdict.status == status
    assert f"{value:.3f} [{low:.3f}, {high:.3f}] ms" in verdict.said


def test_size_and_drop_are_judged_by_what_was_found() -> None:
    budget = Budget.parse({"size": "1MB", "accuracy_drop": "1%"})
    found = replace(
        REPORT,
        sizes=Sizes(weights_fp32=1, weights=1, engine=1_000_001),
        task=TaskMetric(before=1.0, after=0.99, how="the engine"),
    )
    assert [(v.what, v.status) for v in judge(budget, found)] == [("size", "missed"), ("accuracy_drop", "met")]


def test_what_was_not_measured_is_said_and_not_failed() -> None:
    budget = Budget.parse({"latency_p50": "5ms", "size": "1B", "accuracy_drop": "0"})
    found = replace(
        REPORT,
        missing=(
            Gap(about="latency", why="Latency was not measured: no GPU."),
            Gap(about="task", why="No evaluate()."),
        ),
    )
    verdicts = judge(budget, found)
    assert [v.status for v in verdicts] == ["unmeasured"] * 3
    assert [v.found for v in verdicts] == [
        "Latency was not measured: no GPU",
        "the engine is not built here",
        "No evaluate()",
    ]
    assert judge(Budget(), found) == ()


def measured(samples: np.ndarray, rounds: int, *, stable: bool = True) -> Measurement:
    return Measurement(
        samples=tuple(int(x) for x in samples),
        rounds=tuple(int(r) for r in np.arange(len(samples)) * rounds // len(samples)),
        stable=stable,
    )


@pytest.mark.parametrize("key", [{}, {"max_latency": "5ms"}])
@pytest.mark.parametrize("budget", [None, [], "4MB", 5, {"size": 5}, {"latency_p50": []}, {"accuracy_drop": None}])
def test_a_budget_of_a_damaged_manifest_is_named(budget: object, key: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"budget|Budget"):
        Budget.of({"budget": budget, **key})


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """100 measurements of a known distribution: 95 % of intervals hold its median; chance gives 88 to 100."""
    rng = np.random.default_rng(0)
    found = [measured(1e6 * rng.lognormal(0, 0.2, 600), 40).interval(50) for _ in range(100)]
    assert sum(i is not None and i.low <= 1.0 <= i.high for i in found) >= 88
    assert all(i is not None and i.high - i.low < 0.1 for i in found)


def test_drift_between_rounds_widens_the_interval() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(1e6, 1e4, 2000)
    calm = measured(noise, 20).interval(50)
    restless = measured(noise + np.repeat(rng.normal(0, 1e5, 20), 100), 20).interval(50)
    assert calm is not None
    assert restless is not None
    assert restless.high - restless.low > 10 * (calm.high - calm.low)


def test_without_a_steady_state_the_interval_covers_every_round() -> None:
    samples = np.concatenate([np.full(100, 1e6), np.full(100, 3e6), np.full(1800, 2e6)])
    loose = measured(samples, 20, stable=False).interval(50)
    assert loose is not None
    assert (loose.low, loose.value, loose.high) == (1.0, 2.0, 3.0)
    assert measured(samples[:50], 20).interval(90) is None
