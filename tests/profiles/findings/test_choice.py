"""Which precision is shipped: a lower one only where it is shown to be faster than the best of the more exact."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.profiles.findings.choice import Choice, Contender, fastest, said
from edgepress.profiles.reporting.content import Table
from edgepress.profiles.reporting.trials import choice_blocks
from edgepress.profiles.timing.measurement import Measurement
from edgepress.profiles.timing.ratio import Ratio, speedup
from edgepress.profiles.timing.significance import claimed, undecided

ROUNDS = 40


def measured(milliseconds: float, spread: float = 0.01, seed: int = 0, rounds: int = ROUNDS) -> Measurement:
    rng = np.random.default_rng(seed)
    medians = milliseconds * 1e6 * np.exp(rng.normal(0, spread, rounds))
    return Measurement(samples=tuple(int(m) for m in medians), rounds=tuple(range(rounds)), stable=True)


def test_int8_that_is_faster_is_shipped() -> None:
    best, compared = fastest({"int8": measured(1.0), "fp32": measured(1.4, seed=1)}, ["int8", "fp32"])
    assert best == "int8"
    assert compared["int8"].against == "fp32"
    assert compared["int8"].ratio.value == pytest.approx(1.4, rel=0.02)
    assert "int8 is 1.4" in said(compared["int8"], "int8")


def test_int8_must_beat_the_best_float_not_the_slowest() -> None:
    found = {"int8": measured(1.0), "fp16": measured(0.8, seed=1), "fp32": measured(1.4, seed=2)}
    best, compared = fastest(found, ["int8", "fp32", "fp16"])
    assert best == "fp16"
    assert compared["fp16"].against == "fp32"
    assert compared["int8"].against == "fp16"
    assert "int8 is slower" in said(compared["int8"], "int8")
    assert fastest(found, ["int8", "fp32"])[0] == "int8"  # where fp16 does not keep the accuracy


def test_a_difference_below_two_percent_is_none() -> None:
    found = {"int8": measured(1.0, spread=1e-4), "fp32": measured(1.01, spread=1e-4, seed=1)}
    best, compared = fastest(found, ["int8", "fp32"])
    assert compared["int8"].ratio.low > 1
    assert best == "fp32"
    assert not claimed(compared["int8"].ratio)
    assert not undecided(compared["int8"].ratio)
    assert "shows no difference" in said(compared["int8"], "int8")


def test_more_rounds_narrow_the_interval() -> None:
    slow, fast = (measured(1.02, spread=0.1, seed=seed) for seed in (0, 1))
    before = speedup(slow, fast)
    assert undecided(before)
    more_slow, more_fast = (measured(ms, spread=0.1, seed=seed, rounds=7 * ROUNDS) for ms, seed in ((1.1, 2), (1.0, 3)))
    after = speedup(more_slow, more_fast)
    assert after.high - after.low < before.high - before.low
    assert claimed(after)


def test_the_report_has_the_reason_and_every_contender() -> None:
    ratio = Ratio(value=0.8, low=0.7, high=0.9)
    contenders = (
        Contender(precision="fp32", accuracy="the model's graph", kept=True, size=4_000_000, p50=1.0),
        Contender(precision="int8", accuracy="30.0 dB", kept=True, size=None, p50=1.25, against="fp32", faster=ratio),
    )
    choice = Choice(shipped="fp32", forced=False, measured=True, because="Because.", contenders=contenders)
    (table,) = choice_blocks(choice, {"fp32": measured(1.0).latency()})
    assert choice.summary == "fp32 (measured)"
    assert isinstance(table, Table)
    assert [row[:2] for row in table.rows] == [("fp32", "shipped"), ("int8", "")]
    assert table.rows[0][2].endswith("]")
    assert table.rows[0][4] == "4.00 MB"
    assert table.rows[1][2:] == ("not measured", "0.80x [0.70, 0.90] as fast as fp32", "not built here", "30.0 dB")
