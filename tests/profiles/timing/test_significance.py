"""How often a difference is claimed where there is none, and found where there is one, from the turns on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from edgepress.profiles.findings.choice import fastest
from edgepress.profiles.machine.conditions import Conditions
from edgepress.profiles.timing import taking_turns
from edgepress.profiles.timing.in_turn import time_in_turn
from edgepress.profiles.timing.measure import Settings
from edgepress.profiles.timing.measurement import Measurement
from edgepress.profiles.timing.ratio import Ratio
from edgepress.profiles.timing.significance import CLAIM, claim, claimed, undecided
from edgepress.profiles.timing.taking_turns import Opener

RUNS = 200
LATENCY = 0.012  # seconds of an inference
PROCESS = 0.003  # what one process is faster or slower than another of the same engine, as a share


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is simulated, so that this one's sensors need not be read."""
    monkeypatch.setattr(taking_turns, "read_conditions", lambda: Conditions(date="now"))


class Machine:
    """A machine that others use too: its level wanders from turn to turn, and each inference has noise of its own."""

    def __init__(self, seed: int, spread: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.spread = spread
        self.level = float(self.rng.normal(0, spread))
        self.now = 0.0

    def run(self, latency: float, count: int) -> list[int]:
        """Inferences that take `latency` on a quiet machine."""
        self.level = 0.98 * self.level + float(self.rng.normal(0, self.spread * np.sqrt(1 - 0.98**2)))
        samples = latency * np.exp(self.level + self.rng.normal(0, 0.05, count))
        samples += (self.rng.random(count) < 0.05) * self.rng.exponential(0.004, count)  # waits for a core
        self.now += float(samples.sum())
        return [int(1e9 * sample) for sample in samples]


@dataclass(frozen=True)
class Simulated:
    """An engine in a process on that machine."""

    machine: Machine
    latency: float

    @property
    def pid(self) -> int:
        return os.getpid()

    def ready(self) -> None:
        self.machine.now += 1.0

    def warm(self, settings: Settings) -> None:
        self.machine.now += settings.warmup_seconds

    def slice(self, settings: Settings) -> list[int]:
        return self.machine.run(self.latency, 4)

    def turn(self, settle: int, count: int) -> list[int]:
        self.machine.now += settle * self.latency
        return self.machine.run(self.latency, count)


def engine(machine: Machine, latency: float) -> Opener:
    """Starts processes of an engine, each with its own luck."""

    @contextmanager
    def start() -> Iterator[Simulated]:
        yield Simulated(machine, latency * float(np.exp(machine.rng.normal(0, PROCESS))))

    return start


def look(seed: int, spread: float, fp32: float, int8: float) -> dict[str, Measurement]:
    """As an export takes it."""
    machine = Machine(seed, spread)
    starts = {"int8": engine(machine, int8), "fp32": engine(machine, fp32)}
    return dict(time_in_turn(starts, clock=lambda: machine.now).latency)


def claims(spread: float, fp32: float, int8: float, seeds: range) -> Counter[str]:
    """What is claimed of int8, which is shipped where it is claimed to be faster."""
    counted: Counter[str] = Counter()
    for seed in seeds:
        best, compared = fastest(look(seed, spread, fp32, int8), ["int8", "fp32"])
        said = claim(compared["int8"].ratio)
        assert (best == "int8") == (said == "faster")
        counted[said] += 1
    return counted


@pytest.mark.parametrize("spread", [0.05, pytest.param(0.4, marks=pytest.mark.slow)])
def test_two_equal_engines_are_seldom_told_apart(spread: float) -> None:
    """An interval of 95 % errs by 2.5 % a side, and CLAIM keeps out what is left: 1 % are 2 of 200."""
    counted = claims(spread, LATENCY, LATENCY, range(RUNS))
    assert max(counted["faster"], counted["slower"]) <= 2


def test_five_percent_are_found_in_nearly_all() -> None:
    for faster, slower, said in ((1.0, 1.05, "faster"), (1.05, 1.0, "slower")):
        counted = claims(0.05, LATENCY * slower, LATENCY * faster, range(RUNS, RUNS + 40))
        assert counted[said] >= 38


@pytest.mark.parametrize(
    ("ratio", "said", "open_"),
    [
        ((1.5, 1.4, 1.6), "faster", False),
        ((CLAIM, 1.001, 1.1), "faster", False),
        ((1.019, 1.018, 1.02), "no difference shown", False),
        ((1.5, 0.99, 2.0), "no difference shown", True),
        ((0.99, 0.985, 0.995), "no difference shown", False),
        ((1 / 1.5, 0.6, 0.7), "slower", False),
    ],
)
def test_a_claim_takes_the_interval_and_the_ratio(ratio: tuple[float, float, float], said: str, open_: bool) -> None:
    value, low, high = ratio
    found = Ratio(value=value, low=low, high=high)
    assert claim(found) == said
    assert claimed(found) == (said == "faster")
    assert undecided(found) == open_
