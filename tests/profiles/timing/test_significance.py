"""How often a difference is claimed where there is none, and found where there is one, from the slices on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from edgepress.profiles.findings.choice import fastest
from edgepress.profiles.timing.measure import Settings, measure
from edgepress.profiles.timing.measurement import Measurement, Ratio, speedup
from edgepress.profiles.timing.significance import CLAIM, claim, claimed, undecided

RUNS = 500
QUICK = Settings(steady=9.0)  # steady at once, so that each look has the same number of rounds
LATENCY = 0.05  # seconds of an inference


class Machine:
    """A machine that others use too: its level wanders from slice to slice, and each inference has noise of its own."""

    def __init__(self, seed: int, spread: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.spread = spread
        self.level = float(self.rng.normal(0, spread))

    def slice(self, latency: float) -> list[int]:
        """One slice of inferences that take `latency` on a quiet machine."""
        self.level = 0.9 * self.level + float(self.rng.normal(0, self.spread * np.sqrt(1 - 0.9**2)))
        count = max(1, round(QUICK.slice_seconds / latency))
        burst = np.cumsum(self.rng.normal(0, 0.01, count))  # neighbours in a slice are alike
        samples = latency * np.exp(self.level + burst + self.rng.normal(0, 0.05, count))
        samples += (self.rng.random(count) < 0.05) * self.rng.exponential(0.004, count)  # waits for a core
        return [int(1e9 * sample) for sample in samples]


@dataclass(frozen=True)
class Simulated:
    """An engine on that machine."""

    machine: Machine
    latency: float

    def warm(self, settings: Settings) -> None:
        """Nothing to warm."""

    def slice(self, settings: Settings) -> list[int]:
        return self.machine.slice(self.latency)


def look(machine: Machine, fp32: float, int8: float) -> dict[str, Measurement]:
    return measure({"int8": Simulated(machine, int8), "fp32": Simulated(machine, fp32)}, QUICK)


def looks(seed: int, spread: float, fp32: float, int8: float) -> list[dict[str, Measurement]]:
    """As an export takes them: a second time where the first leaves open which is faster."""
    machine = Machine(seed, spread)
    first = look(machine, fp32, int8)
    if not undecided(speedup(first["fp32"], first["int8"])):
        return [first, first]
    again = look(machine, fp32, int8)
    return [first, {arm: first[arm].and_then(more) for arm, more in again.items()}]


def claims(spread: float, fp32: float, int8: float, seeds: range) -> list[Counter[str]]:
    """What is claimed of int8 after the first look, and in the end; it is shipped where it is claimed to be faster."""
    counted: list[Counter[str]] = [Counter(), Counter()]
    for seed in seeds:
        for counter, taken in zip(counted, looks(seed, spread, fp32, int8), strict=True):
            best, compared = fastest(taken, ["int8", "fp32"])  # type: ignore[arg-type]
            said = claim(compared["int8"].ratio)
            assert (best == "int8") == (said == "faster")
            counter[said] += 1
    return counted


@pytest.mark.parametrize("spread", [0.05, 0.4])
def test_two_equal_engines_are_seldom_told_apart(spread: float) -> None:
    """An interval of 95 % errs by 2.5 % a side and look; of 500, three standard errors more are 23, and 40 in two."""
    first, last = claims(spread, LATENCY, LATENCY, range(RUNS))
    assert max(first["faster"], first["slower"]) <= 23
    assert max(last["faster"], last["slower"]) <= 40
    if spread < 0.1:  # quiet enough for CLAIM to be the higher bar: two looks err less than the interval of one
        assert max(last["faster"], last["slower"]) <= 0.025 * RUNS


def test_five_percent_are_found_in_nearly_all() -> None:
    for faster, slower, said in ((1.0, 1.05, "faster"), (1.05, 1.0, "slower")):
        _, last = claims(0.05, LATENCY * slower, LATENCY * faster, range(RUNS, RUNS + 60))
        assert last[said] >= 57


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
