"""What each range method and each accuracy lift is worth on this model, by trying it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ...backends.base import Array, Feed, Graph
from ...backends.places import Reference
from ...calibration.statistics import Statistics
from ...profiles.device.target import Scheme, Target
from ...profiles.findings.parity import Parity, assured_db, worst
from ...profiles.machine.environment import VNNI, this_machine
from ..graphs.files import BESIDE
from ..recipe import Recipe
from .judging import JudgingSamples
from .lifts import LIFTS, NEEDED_DB
from .quantizer import FEATURE_MAPS, Quantizer

if TYPE_CHECKING:
    import onnx_ir as ir

# A lift that costs more than this, in dB of SQNR, is left out; less is noise of the few samples it is tried on.
HARM_DB = 0.1
# Another range method than the first has to be so much better, in dB.
BETTER_DB = 0.5
# SQNR in dB on samples, and what is sure of others of the kind.
Decibels: TypeAlias = tuple[float, float]
# Of integers that have kernels of either sign.
WIDTH = 8
# Fewer samples than these, or a larger difference in dB between fitted and other samples, is said.
FEW, GAP_DB = 100, 3.0
# With so many dB a sample beyond all others may be clipped and leave enough: one that was took 11 (docs/zoo.md).
_AMPLE_DB = 30.0
# Below this a network that nobody scores is called doubtful: noise of a tenth of the signal's amplitude.
_LOW_DB = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """What to apply, the SQNR with it in dB on the samples named, and a sentence each for the report.

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
        samples: to judge on; the graphs run on the reference place.
        shipped: what the ranges that ship come of, where `statistics` are of data beyond the samples and range methods
            are to be tried; elsewhere they are not: what was fitted to a sample hardly clips it.
    """
    assert target.scheme is not None
    scheme = as_tried(target.scheme)
    tried = replace(target, scheme=scheme)

    def write(method: str, lifts: tuple[str, ...], seen: Statistics = statistics) -> tuple[Graph, dict[str, str]]:
        path = scratch / f"lifts-{len(lifts)}.onnx"
        quantizer = Quantizer.of(
            reference, scheme, recipe.exclude, recipe.ranges, lifts, model=model, feature_maps=method
        )
        return replace(reference, path=path), quantizer.write(seen, path, BESIDE)

    def score(graph: Graph) -> Decibels:
        found = samples.compare(_run(graph, tried, samples.feeds), graph)
        return worst(found).weakest_db, assured_db(found)

    def ranged_by(method: str, seen: Statistics) -> Decibels:
        return score(write(method, (), seen)[0])

    method, first, ranged = _ranged(ranged_by, statistics, shipped)
    kept, (after, assured), lifted = _lifted(recipe, first, lambda lifts: write(method, lifts), score)
    return Gains(
        feature_maps=method,
        lifts=kept,
        sqnr_db=after,
        assured_db=assured,
        samples=str(samples),
        sentences=(f"int8 without lifts: {first[0]:.1f} dB of SQNR on {samples}{ranged}.", *lifted),
    )


def _lifted(
    recipe: Recipe,
    seen: Decibels,
    write: Callable[[tuple[str, ...]], tuple[Graph, dict[str, str]]],
    score: Callable[[Graph], Decibels],
) -> tuple[tuple[str, ...], Decibels, list[str]]:
    """The lifts to keep, each tried on top of those before it, the score with them, and a sentence for each.

    Args:
        seen: the score without any.
        write: the graph with these lifts, and what each did.
    """
    kept: tuple[str, ...] = ()
    sentences = []
    for name in LIFTS.names() if recipe.lifts is None else recipe.lifts:
        graph, notes = write((*kept, name))
        if name not in notes:
            continue
        after = score(graph)
        wanted = recipe.lifts is not None or after[0] >= seen[0] + NEEDED_DB.get(name, -HARM_DB)
        verdict = "" if wanted else ", so it was left out"
        sentences.append(f"Lift {name} ({notes[name]}): {seen[0]:.1f} to {after[0]:.1f} dB{verdict}.")
        if wanted:
            kept, seen = (*kept, name), after
    return kept, seen, sentences


def _ranged(
    score: Callable[[str, Statistics], Decibels], statistics: Statistics, shipped: Statistics | None
) -> tuple[str, Decibels, str]:
    """The range method of feature maps, its score, and a clause for the report where there was a choice.

    The second method has to be better with ranges of both statistics: how well a value that occurs often is rounded
    hangs on the last digits of a scale, and may be all that tells two methods apart.
    """
    first, second = FEATURE_MAPS
    one = score(first, statistics)
    if shipped is None:
        return first, one, ""
    two = score(second, statistics)
    stays = f" with {first} for feature maps, {two[0]:.1f} dB with {second}"
    if two[0] < one[0] + BETTER_DB:
        return first, one, stays
    if score(second, shipped)[0] < score(first, shipped)[0] + BETTER_DB:
        return first, one, f"{stays}, which is not better with the ranges that ship"
    return second, two, f" with {second} for feature maps, {one[0]:.1f} dB with {first}"


def doubts(
    samples: int,
    fitted_db: float | None,
    other_db: float | None,
    on_samples: Mapping[str, Parity] | None = None,
    *,
    scored: bool = True,
    few: int = 0,
) -> dict[str, str]:
    """What speaks against trusting the ranges, by what it is about.

    Args:
        samples: that they come of.
        fitted_db: SQNR on samples among those; None where it is not known.
        other_db: SQNR on the same samples with ranges that come of others alone.
        on_samples: agreement on those of each output that is no class or place.
        scored: the model's own metric says what int8 costs.
        few: how many others those are, where they are too few to decide anything; 0 where they are not. Even of
            ordinary models ranges of so few lose 10 dB, so that it is said only where little is left.
    """
    found: dict[str, str] = {}
    if samples < FEW:
        found["samples"] = f"The ranges of int8 come of {samples} samples; {FEW} or more make them reliable."
    gap = fitted_db is not None and other_db is not None and fitted_db - other_db > GAP_DB
    if gap and not few:
        found["held out"] = (
            f"int8 reaches {fitted_db:.1f} dB of SQNR on samples that its ranges were fitted to and {other_db:.1f} dB "
            "where they were not among those: give more calibration data, or more varied ones."
        )
    elif gap and other_db is not None and other_db < _LOW_DB:
        found["held out"] = (
            f"int8 reaches {fitted_db:.1f} dB of SQNR on samples that its ranges were fitted to and {other_db:.1f} dB "
            f"with ranges of the other {few} alone. What it has on new samples may be as little: give {FEW} or more."
        )
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


def as_tried(scheme: Scheme) -> Scheme:
    """The scheme with unsigned activations for signed ones, where this processor's kernels are several times as fast.

    The integers are the same but for 128 in each and in their zero point, and so is what they stand for.
    """
    grid = scheme.activation
    if grid.bits != WIDTH or not grid.signed or grid.symmetric or not VNNI.intersection(this_machine().isa):
        return scheme
    return replace(scheme, activation=replace(grid, signed=False))


def _run(graph: Graph, target: Target, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
    place = Reference()
    with place.open(place.runs(graph, target, "fp32", None)) as session:
        return [session(feed) for feed in feeds]
