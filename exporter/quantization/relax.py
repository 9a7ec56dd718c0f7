"""Mixed precision: the fewest layers back in float until what is required of int8 holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from ...profiles.budget.limits import Drop
from ...profiles.findings.sensitivity import LayerNoise, Sensitivity, Trial
from .noise import Noise, decibel

# Evaluations that a search may take, the one of full int8 included.
EVALUATIONS = 8
# Layers of the ranking that a report lists, besides those left in float.
LISTED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Of int8 with some layers in float: its SQNR in dB, what is sure of it on other samples, the metric if asked."""

    sqnr_db: float
    assured_db: float
    metric: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What int8 must keep: an SQNR, and a share of the metric of the model as given where `drop` is set."""

    least_db: float
    drop: Drop | None = None
    before: float = math.nan

    def holds(self, found: Evaluation) -> bool:
        """Whether both are kept, the SQNR on other samples of the kind as well."""
        kept = self.drop is None or (found.metric is not None and self.drop.allows(self.before, found.metric))
        return kept and found.assured_db >= self.least_db

    def __str__(self) -> str:
        asked = [f"{self.least_db:g} dB of SQNR"]
        if self.drop is not None:
            asked.insert(0, f"a metric of at least {self.before - self.drop.allowed(self.before):.4f}")
        return " and ".join(asked)


# Of int8 with these layers in float.
Evaluate = Callable[[tuple[str, ...]], Evaluation]


def relax(noise: Noise, requirement: Requirement, evaluate: Evaluate, most: int = EVALUATIONS) -> Sensitivity:
    """Leave layers in float from the head of the ranking, the fewest for which the requirement was seen to hold.

    Full int8 is evaluated first. Where an SQNR is what it misses, the sum of the noise of single layers says how many
    to try; the rest is bisection, in at most so many evaluations. Nothing is left in float where none of the
    evaluations held.
    """
    ranking = noise.ranking()
    trials: list[Trial] = []

    def holds(count: int) -> bool:
        left = tuple(ranking[:count])
        found = evaluate(left)
        kept = requirement.holds(found)
        trials.append(Trial(left=count, predicted_db=noise.predicted_db(left), holds=kept, **asdict(found)))
        return kept

    count = 0
    if not holds(0):
        guess = predicted(noise, ranking, requirement.least_db)
        count = fewest(len(ranking), guess, holds, most - 1) or 0
    return described(noise, ranking, count, requirement, tuple(trials))


def predicted(noise: Noise, ranking: list[str], least_db: float) -> int:
    """The fewest layers that the sum of noises says to be enough for an SQNR; 0 where it says that none are needed."""
    low, high = -1, len(ranking)
    while high - low > 1:
        middle = (low + high) // 2
        if noise.predicted_db(ranking[:middle]) >= least_db:
            high = middle
        else:
            low = middle
    return high


def fewest(layers: int, guess: int, holds: Callable[[int], bool], most: int) -> int | None:
    """The fewest of 1 .. layers - 1 for which `holds` was seen, None where it was not; 0 is known not to hold.

    A guess in that range is tried first; where it holds, one less, else a geometric mean, since few layers are the
    usual answer. Then the range is halved.
    """
    low, high, found = 0, layers, None
    step = guess if 0 < guess < layers else _geometric(low, high)
    for tried in range(most):
        if high - low <= 1:
            break
        if holds(step):
            high = found = step
            following = step - 1 if tried == 0 and step == guess else 0
        else:
            low = step
            following = _geometric(low, high) if tried == 0 and step == guess else 0
        step = following if low < following < high else (low + high) // 2
    return found


def _geometric(low: int, high: int) -> int:
    """The geometric mean, strictly between where there is something between."""
    return min(max(round(math.sqrt((low + 1) * (high + 1))) - 1, low + 1), high - 1)


def described(
    noise: Noise, ranking: list[str], count: int, requirement: Requirement, trials: tuple[Trial, ...]
) -> Sensitivity:
    """The head of the ranking with figures and reasons, for the report."""
    listed = ranking[: max(count, LISTED)]
    layers = [_layer(noise, name) for name in listed]
    return Sensitivity(
        layers=tuple(replace(layer, left=index < count) for index, layer in enumerate(layers)),
        required=str(requirement),
        samples=noise.samples,
        probes=len(noise.places),
        elsewhere=max(0.0, 1 - sum(noise.share(name) for name in ranking)),
        trials=trials,
    )


def _layer(noise: Noise, name: str) -> LayerNoise:
    return LayerNoise(
        layer=name,
        operator=noise.layers[name],
        tensor=noise.tensor(name),
        own_db=decibel(noise.own(name)),
        output_db=decibel(float(noise.of(name)[noise.worst])),
        share=noise.share(name),
        why=noise.why[name],
    )
