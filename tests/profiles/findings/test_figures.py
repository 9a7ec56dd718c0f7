"""Figures by name, what a busy machine makes of them, and the limits that are put on them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.profiles.budget.budget import LIMITS, limit, parse_limit
from edgepress.profiles.budget.figure import UNITS, Figure
from edgepress.profiles.budget.verdict import verdict
from edgepress.profiles.machine.waiting import Waiting
from edgepress.profiles.timing.measurement import BUSY, Measurement


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latency_p9O=5ms", ("Did you mean latency_p90?",)),
        ("Latency-P90=5ms", ("Did you mean latency_p90?",)),
        ("sise=4MB", ("Did you mean size?",)),
        ("latency_p90=5mz", ("'mz' is unknown", "Did you mean ms?", "latency_p90=5ms")),
        ("size=4mb", ("Did you mean MB?",)),
        ("latency_p90", ("NAME=LIMIT",)),
        ("latency_p90=p50=5ms", ("percentile stands in the budget's name",)),
        ("latency_regression=5", ("no unit", "%")),
        ("coverage=all", ("is not a share", "coverage=90%")),
        ("throughput=100", ("no unit", "/s")),
        ("accuracy=-0.5", ("0 or more",)),
        ("decode=20", ("no unit", "tok/s", "decode=20tok/s")),
        ("decode=20/s", ("Did you mean tok/s?",)),
        ("first_token=0ms", ("more than 0",)),
        ("perplexity_raise=4%", ("Did you mean perplexity_rise?",)),
        ("zzz=1", ("Known: latency_p50",)),
    ],
)
def test_a_fault_names_the_nearest_that_is_known(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        parse_limit(text)
    for word in words:
        assert word in str(caught.value)


def test_every_limit_reads_its_own_example_and_bounds_a_figure() -> None:
    for name, (_, example) in LIMITS.items():
        asked = limit(name, example)
        assert limit(name, str(asked)) == asked
        assert name in UNITS or name.endswith("_regression")


@pytest.mark.parametrize(
    ("name", "asked", "figure", "status"),
    [
        ("accuracy", "90%", Figure.exact(0.9), "met"),
        ("accuracy", "0.9", Figure.exact(0.899), "missed"),
        ("speedup", "1.5x", Figure(value=1.4, low=1.3, high=1.6, unit="x"), "undecided"),
        ("speedup", "1.5x", Figure(value=1.4, low=1.3, high=1.45, unit="x"), "missed"),
        ("speedup", "1.5x", Figure(value=1.4, low=1.3, high=1.45, unit="x", unsteady="busy"), "unstable"),
        ("latency_p90", "5ms", Figure(value=9, low=8, high=10, unit="ms"), "missed"),
        ("latency_p90", "5ms", Figure(value=9, low=8, high=10, unit="ms", unsteady="busy"), "unstable"),
        ("latency_p90", "5ms", Figure(value=4, low=3, high=10, unit="ms", unsteady="busy"), "unstable"),
        ("latency_p90", "5ms", Figure(value=3, low=2, high=4, unit="ms", unsteady="busy"), "met"),
        ("accuracy_drop", "1%", Figure.exact(0.01, before=1.0), "met"),
        ("accuracy_drop", "1%", Figure.exact(0.011, before=1.0), "missed"),
        ("throughput", "100/s", Figure(value=99, low=90, high=101, unit="/s"), "undecided"),
        ("size", "1kB", "not built", "unmeasured"),
        ("decode", "20tok/s", Figure(value=19, low=18, high=19.9, unit="tok/s"), "missed"),
        ("decode", "20tok/s", Figure(value=19, low=18, high=21, unit="tok/s"), "undecided"),
        ("decode", "20tok/s", Figure(value=19, low=18, high=19.9, unit="tok/s", unsteady="busy"), "unstable"),
        ("first_token", "0.5s", Figure(value=499, low=400, high=600, unit="ms"), "met"),
        ("perplexity_rise", "4%", Figure(value=0.5, low=0.4, high=0.6, before=14.7, rises=True), "met"),
        ("perplexity_rise", "4%", Figure(value=0.7, low=0.5, high=0.9, before=14.7, rises=True), "undecided"),
        ("accuracy_drop", "4%", Figure(value=0.7, low=0.6, high=0.9, before=14.7, rises=True), "missed"),
    ],
)
def test_a_verdict_is_that_of_the_interval(name: str, asked: str, figure: Figure | str, status: str) -> None:
    assert verdict(name, limit(name, asked), figure).status == status


SPIN = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"


def test_a_busy_machine_is_told_from_a_slow_program() -> None:
    """Other processes on the same core are seen as waiting; work of our own, however much, is not."""
    import os

    core = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    others = [subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", SPIN]) for _ in range(3)]
    try:
        os.sched_setaffinity(0, {core})
        time.sleep(0.5)
        with Waiting() as waiting:
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                pass
    finally:
        os.sched_setaffinity(0, before)
        for process in others:
            process.kill()
            process.wait()
    assert waiting.share is not None
    assert waiting.share > 0.3
    measured = Measurement(samples=(1, 1), rounds=(0, 0), stable=True)
    assert not measured.having_waited(waiting.share).stable
    assert measured.having_waited(BUSY / 2).stable
    assert measured.having_waited(None).stable


def test_waiting_is_the_kernel_s_own_count(tmp_path: Path) -> None:
    task = tmp_path / "1"
    task.mkdir()
    (task / "schedstat").write_text("1000 500 3\n")
    waiting = Waiting(tasks=tmp_path)
    with waiting:
        (task / "schedstat").write_text("4000 1500 9\n")
        (tmp_path / "2").mkdir()
        (tmp_path / "2/schedstat").write_text("1000 0 1\n")
    assert waiting.share == pytest.approx(1000 / 5000)
    with (unknown := Waiting(tasks=tmp_path / "none")):
        pass
    assert unknown.share is None
