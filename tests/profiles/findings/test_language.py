"""What is known of a decoder: rates from raw times, bytes that were computed, and what is read from them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from edgepress.profiles.budget.budget import Budget
from edgepress.profiles.device.target import Fact, load_target
from edgepress.profiles.findings.figures import judge, of_report
from edgepress.profiles.findings.files import json_text
from edgepress.profiles.findings.fit import ALLOWANCE, device_memory, why_no_room
from edgepress.profiles.findings.language import (
    AtDepth,
    Bandwidth,
    Footprint,
    Language,
    Rise,
    Speed,
    TextParity,
    paired_rise,
)
from edgepress.profiles.findings.report import Report, Sizes, TaskMetric, rows
from edgepress.profiles.machine.environment import this_machine
from edgepress.profiles.reading.validator import value_of
from edgepress.profiles.timing.measurement import Measurement

HOW = "Reckoned."
MEMORY = Footprint(weights=800 << 20, read=700 << 20, context=4096, cache=400 << 20, how=HOW)


def measured(*milliseconds: float) -> Measurement:
    samples = tuple(round(1e6 * value) for value in milliseconds)
    return Measurement(samples=samples, rounds=tuple(range(len(samples))), stable=True)


def at(depth: int, first: float, token: float) -> AtDepth:
    return AtDepth.of(depth, 33, measured(first, first, 1.1 * first), measured(token, token, 0.9 * token))


def report(language: Language | None, task: TaskMetric | None = None) -> Report:
    return Report(
        model="story", target="cpu", target_title="a CPU", backend="openvino", precision="int4", evidence=(),
        parity={}, parity_how="the engine", sizes=Sizes(weights_fp32=4, weights=1), machine=this_machine(), tools={},
        date="now", command="edgepress export", language=language, task=task,
    )  # fmt: skip


def language() -> Language:
    parity = TextParity(text="help", tokens=1000, agreement=0.9, kl=0.02, before=10.0, after=10.5,
                        rise=Rise(value=0.5, low=0.3, high=0.7), how="the engine")  # fmt: skip
    speed = Speed(depths=(at(128, 200, 10), at(1024, 2000, 20)), threads=2, processes=3, how="It ran.")
    return Language(context=4096, vocabulary=100, speed=speed, parity=parity, memory=replace(MEMORY, peak=900 << 20))


def test_a_rate_is_that_of_its_tokens_and_its_interval_is_turned_around() -> None:
    one = at(128, 200, 10)
    assert one.prefill.value == pytest.approx(640) and one.decode.value == pytest.approx(100)
    assert one.first_token.value == pytest.approx(200)
    assert one.prefill.low <= one.prefill.value <= one.prefill.high
    assert one.prefill.low == pytest.approx(128 / 0.22, rel=0.02)
    assert one.decode.high == pytest.approx(1000 / 9, rel=0.02)


def test_a_budget_is_held_against_the_depth_that_is_slowest() -> None:
    found = of_report(report(language()))
    assert found["decode"].value == pytest.approx(50)
    assert found["prefill"].value == pytest.approx(512)
    assert found["first_token"].value == pytest.approx(200)
    budget = Budget.parse({"decode": "60tok/s", "first_token": "250ms", "memory": "1GB", "accuracy_drop": "4%"})
    judged = {one.what: one.status for one in judge(budget, report(language()))}
    assert judged == {"decode": "missed", "first_token": "met", "memory": "met", "accuracy_drop": "undecided"}
    assert budget.rise is not None and budget.rise.allowed(10.0) == pytest.approx(0.4)


def test_a_metric_of_the_users_own_is_what_may_drop() -> None:
    found = of_report(report(language(), TaskMetric(before=0.9, after=0.8, how="the engine")))
    assert found["accuracy_drop"].value == pytest.approx(0.1)
    assert found["perplexity_rise"].rises
    assert "10.00 to 10.50, +5.0%" in str(found["perplexity_rise"])


def test_what_is_no_decoder_has_no_speed_of_writing() -> None:
    found = of_report(report(None))
    assert found["decode"] == "story is no decoder"
    unknown = report(replace(language(), speed=None, missing={"speed": "the device is another machine"}))
    assert of_report(unknown)["decode"] == "the device is another machine"


def test_a_report_keeps_all_of_it_and_one_of_before_has_none() -> None:
    found = report(language())
    import json

    data = json.loads(json_text(found))
    assert value_of(Report, data) == found
    del data["language"]
    assert value_of(Report, data).language is None
    table = {what: after for what, _, after in rows(found)}
    assert "50.0" in table["decode behind 1,024 tokens"] and "+5.0% [+3.0%, +7.0%]" in table["perplexity"]


def test_bytes_at_the_full_context_are_what_ran_and_the_rest_of_the_cache() -> None:
    assert MEMORY.full == (800 + 400) << 20
    ran = replace(MEMORY, peak=1000 << 20, peak_depth=1024)
    assert ran.full == (1000 + 300) << 20
    # A peak that is below what must be there, as of weights that were never touched, is no bound.
    assert replace(MEMORY, peak=10 << 20, peak_depth=4096).full == (400 + 700) << 20
    assert MEMORY.read_at(2048) == (700 + 200) << 20


def test_the_limit_is_what_the_memory_reads() -> None:
    found = Bandwidth(machine=20e9, token=100_000_000, decode=150, how=HOW)
    assert found.limit == pytest.approx(200) and found.share == pytest.approx(0.75)


def test_a_decoder_that_cannot_fit_is_told_from_one_that_can() -> None:
    small = load_target("jetson-orin-nano-4gb")
    assert device_memory(small) == 4 << 30
    assert why_no_room(MEMORY, small) == ""
    large = replace(MEMORY, weights=3 << 30, cache=1 << 30)
    why = why_no_room(large, small)
    assert "4,096 tokens" in why and "jetson-orin-nano-4gb has" in why
    assert why_no_room(replace(large, context=2048, cache=1 << 29), small) == ""
    untold = replace(small, figures={})
    assert why_no_room(large, untold) == ""
    several = Fact(value="8 or 16", unit="GB", mark="documented", source="a sheet")
    assert device_memory(replace(small, figures={"memory": several})) == 16 << 30
    assert (4 << 30) - ALLOWANCE - (3 << 30) == 512 << 20


def test_a_paired_rise_is_sure_where_windows_differ_much() -> None:
    """Windows are hard or easy for both: the interval of the difference is far narrower than that of either."""
    rng = np.random.default_rng(0)
    tokens = [100] * 32
    before = 100 * rng.normal(2.7, 0.5, 32)
    after = before + 100 * rng.normal(0.03, 0.01, 32)
    found = paired_rise(before.tolist(), after.tolist(), tokens)
    perplexity = math.exp(before.sum() / 3200)
    assert found.value == pytest.approx(math.exp(after.sum() / 3200) - perplexity)
    assert 0 < found.low < found.value < found.high < 2 * found.value
    same = paired_rise(before.tolist(), before.tolist(), tokens)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="two or more"):
        paired_rise([1.0], [1.0], [1])
