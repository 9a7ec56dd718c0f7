"""What each range method and each accuracy lift is worth on this model, by trying it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Graph
from ...calibration.statistics import Statistics
from ...profiles.device.target import Scheme, Target
from ...profiles.findings.parity import Parity, assured_db, worst
from ...profiles.machine.environment import VNNI, this_machine
from ..recipe import Recipe
from .judging import JudgingSamples
from .lifts import LIFTS, NEEDED_DB
from .quantizer import FEATURE_MAPS
from .trial import GraphTrial, GraphTrials, race

if TYPE_CHECKING:
    import onnx_ir as ir

# A lift that costs more than this, in dB of SQNR, is left out; less is noise of the few samples it is tried on.
HARM_DB = 0.1
# Another range method than the first has to be so much better, in dB.
BETTER_DB = 0.5
# Of integers that have kernels of either sign.
WIDTH = 8
# Fewer samples than these, or a larger difference in dB between fitted and other samples, is said.
FEW, GAP_DB = 100, 3.0
# With so many dB a sample beyond all others may be clipped and leave enough: one that was took 11 (docs/zoo.md).
_AMPLE_DB = 30.0
# Of what parts have with ranges of the others, less than `_AMPLE_DB` is said where so many dB are missing.
_FAR_DB = 10.0
# Below this a network that nobody scores is called doubtful: noise of a tenth of the signal's amplitude.
_LOW_DB = 20.0

# What is equal to the bit is said to have so many dB.
EQUAL_DB = 150.0

_REACHES = "int8 reaches {:.1f} dB of SQNR on samples that its ranges were fitted to"
_MORE_DATA = "give more calibration data, or more varied ones."


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """What to apply, the SQNR with it in dB on all of the samples named, and a sentence each for the report.

    Attributes:
        feature_maps: the range method of feature maps, as `Quantizer` has it.
        assured_db: what the SQNR is on others of the kind as well.
    """

    feature_maps: str
    lifts: tuple[str, ...]
    sqnr_db: float
    assured_db: float
    samples: str
    sentences: tuple[str, ...]


def worthwhile(
    reference: Graph,
    target: Target,
    recipe: Recipe,
    statistics: Statistics,
    samples: JudgingSamples,
    scratch: Path,
    model: ir.Model | None = None,
    shipped: Statistics | None = None,
) -> Gains:
    """Try range methods, then the lifts one after the other on top of those kept.

    Args:
        model: the reference, where it has been read.
        samples: to judge on; the graphs run on the reference place, each trial on as many as make it clear.
        shipped: what the ranges that ship come of, where `statistics` are of data beyond the samples and range methods
            are to be tried; elsewhere they are not: what was fitted to a sample hardly clips it.
    """
    assert target.scheme is not None
    tried = replace(target, scheme=as_tried(target.scheme))
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        trials = GraphTrials(
            reference=reference, target=tried, recipe=recipe, samples=samples, model=model, directory=Path(directory)
        )
        plain, ranged = _ranged(trials.of, statistics, shipped)
        kept, lifted = _lifted(recipe, plain, lambda lifts: trials.of(plain.method, statistics, lifts))
        found = kept.parity()
        kept.drop()
    without = ranged or f"{_db(plain.parity(plain.seen))} dB of SQNR on {samples.first(plain.seen)}"
    chosen = [f"int8 as it was chosen: {_db(found)} dB on {samples}."] if ranged or lifted else []
    return Gains(
        feature_maps=kept.method,
        lifts=kept.lifts,
        sqnr_db=worst(found).weakest_db,
        assured_db=assured_db(found),
        samples=str(samples),
        sentences=(f"int8 without lifts: {without}.", *lifted, *chosen),
    )


def _db(found: Mapping[str, Parity]) -> str:
    return f"{worst(found).weakest_db:.1f}"


def _lifted(
    recipe: Recipe, standing: GraphTrial, trial: Callable[[tuple[str, ...]], GraphTrial]
) -> tuple[GraphTrial, list[str]]:
    """The graph with the lifts to keep, each tried on top of those before it, and a sentence for each.

    Args:
        standing: the graph without any.
        trial: one with these lifts.
    """
    sentences = []
    for name in LIFTS.names() if recipe.lifts is None else recipe.lifts:
        least_db = NEEDED_DB.get(name, -HARM_DB) if recipe.lifts is None else -math.inf
        if least_db > 0 and not standing.promises(least_db):
            continue  # it takes time, and so much is not there to gain
        tried = trial((*standing.lifts, name))
        if name in tried.notes:
            found = race(standing, tried, least_db)
            verdict = "" if found.passed else ", so it was left out"
            sentences.append(f"Lift {name} ({tried.notes[name]}): {found}{verdict}.")
            if found.passed:
                standing, tried = tried, standing
        tried.drop()
    return standing, sentences


def _ranged(
    trial: Callable[[str, Statistics], GraphTrial], statistics: Statistics, shipped: Statistics | None
) -> tuple[GraphTrial, str]:
    """The graph with the range method of feature maps that is taken, and its figures where there was a choice.

    The second method has to be better with ranges of both statistics: how well a value that occurs often is rounded
    hangs on the last digits of a scale, and may be all that tells two methods apart.
    """
    first, second = FEATURE_MAPS
    kept = trial(first, statistics)
    if shipped is None:
        return kept, ""
    other = trial(second, statistics)
    found = race(kept, other, BETTER_DB)
    kept_db, other_db, why = found.before_db, found.after_db, ""
    if found.passed and _is_better(trial(first, shipped), trial(second, shipped)):
        kept, other, kept_db, other_db = other, kept, other_db, kept_db
    elif found.passed:
        why = ", which is not better with the ranges that ship"
    other.drop()
    return kept, (
        f"{kept_db:.1f} dB of SQNR on {found.samples} with {kept.method} for feature maps, "
        f"{other_db:.1f} dB with {other.method}{why}"
    )


def _is_better(first: GraphTrial, second: GraphTrial) -> bool:
    found = race(first, second, BETTER_DB)
    for trial in (first, second):
        trial.drop()
    return found.passed


def doubts(
    samples: int,
    fitted_db: float | None,
    other_db: float | None,
    on_samples: Mapping[str, Parity] | None = None,
    *,
    scored: bool = True,
    turns: Parity | None = None,
    whole: bool = False,
) -> dict[str, str]:
    """What speaks against trusting the ranges, by what it is about.

    Args:
        samples: that they come of.
        fitted_db: SQNR on samples among those; None where it is not known.
        other_db: SQNR on the same samples with ranges that come of others alone; None also where `turns` tell more.
        on_samples: agreement on those of each output that is no class or place.
        scored: the model's own metric says what int8 costs.
        turns: of the worst output on much or all of the data, each quarter judged with ranges of the others, which are
            poorer than those that ship: it is said only where little is left.
        whole: a batch of many rows is one sample.
    """
    found: dict[str, str] = {}
    if samples < FEW:
        each = ", each a batch, whose rows belong together" if whole else ""
        found["samples"] = f"The ranges of int8 come of {samples} samples{each}; {FEW} or more make them reliable."
    if why := _held_out_in_turns(fitted_db, turns) or _held_out(fitted_db, other_db):
        found["held out"] = why
    uneven = {name: seen for name, seen in (on_samples or {}).items() if seen.few and seen.weakest_db < _AMPLE_DB}
    if uneven:
        name, seen = min(uneven.items(), key=lambda item: item[1].weakest_db)
        found["uneven"] = (
            f"The outputs are so uneven that {seen.few} decide the {seen.weakest_db:.1f} dB of SQNR that int8 has at "
            f"output {name!r}. One that is larger than these is clipped, and may have much less: give calibration data "
            "with the largest that the model will meet, or ship float."
        )
    low = {name: seen for name, seen in (on_samples or {}).items() if seen.weakest_db < _LOW_DB}
    if low and not scored:
        name, seen = min(low.items(), key=lambda item: item[1].weakest_db)
        found["low"] = (
            f"int8 keeps {seen.weakest_db:.1f} dB of SQNR at output {name!r}: what it adds is "
            f"{10 ** (-seen.weakest_db / 20):.0%} of the signal there, and on other inputs may be more. Whether that "
            "does is for a metric to say: add evaluate() to the model, or ask for more with --min-sqnr."
        )
    return found


def short_of(seen: Mapping[str, Parity], expected_db: Mapping[str, float]) -> tuple[str, float, float] | None:
    """The output of which least is to be expected of others, of those where that is to be said; None for none.

    Returns:
        Its name, the dB that it has, `EQUAL_DB` at most, and those that are to be expected.
    """
    short = {name: db for name, db in expected_db.items() if tells_less(seen[name].weakest_db, db)}
    if not short:
        return None
    name = min(short, key=lambda name: short[name])
    return name, min(seen[name].weakest_db, EQUAL_DB), short[name]


def tells_less(claimed_db: float, found_db: float) -> bool:
    """Whether what others have, in dB, is to be said beside what the samples have: little is left, or far less."""
    gap_db = claimed_db - found_db
    return (gap_db > GAP_DB and found_db < _LOW_DB) or (gap_db > _FAR_DB and found_db < _AMPLE_DB)


def _held_out(fitted_db: float | None, other_db: float | None) -> str:
    """What to say of ranges that do less for other samples, as `doubts` has it; empty for nothing."""
    if fitted_db is None or other_db is None or fitted_db - other_db <= GAP_DB:
        return ""
    return f"{_REACHES.format(fitted_db)} and {other_db:.1f} dB where they were not among those: {_MORE_DATA}"


def _held_out_in_turns(fitted_db: float | None, turns: Parity | None) -> str:
    """The same of data in turns. Where few samples hold the signal, what is sure of others like them counts."""
    if turns is None or fitted_db is None:
        return ""
    found_db = turns.weakest_db if turns.few is None else turns.assured_db
    if not tells_less(fitted_db, found_db):
        return ""
    sure = f"; {turns.few} decide that, and of others like them {found_db:.1f} dB is sure" if turns.few else ""
    return (
        f"{_REACHES.format(fitted_db)} and {turns.weakest_db:.1f} dB on each quarter of them with ranges of the "
        f"others{sure}.{held_by(turns)} On new samples it may have as little: {_MORE_DATA}"
    )


def held_by(found: Parity) -> str:
    """The samples that hold what differs, as a sentence behind others, where few do."""
    return f" What is lost there lies in {found.noisy}." if found.noisy else ""


def as_tried(scheme: Scheme) -> Scheme:
    """The scheme in the form that takes the least time here, whose integers stand for the same.

    Weights are stored as integers, and activations are unsigned for signed ones where this processor's kernels are
    several times as fast: those integers are the same but for 128 in each and in their zero point.
    """
    scheme = replace(scheme, weight_storage="integer")
    grid = scheme.activation
    if grid.bits != WIDTH or not grid.signed or grid.symmetric or not VNNI.intersection(this_machine().isa):
        return scheme
    return replace(scheme, activation=replace(grid, signed=False))
