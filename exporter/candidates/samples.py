"""The samples that candidates are judged on: real data where there are some, and what FP32 answers to them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...backends.base import Array, Feed
from ...backends.places import Reference
from ...calibration.feeds import samples_in
from ...profiles.device.target import Target
from ..capture.amounts import with_amounts
from ..capture.captured import Captured
from ..quantization.gather import JUDGED_ON, calibration_feeds
from ..recipe import Recipe
from ..sources import Source
from ..workshop import Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingSamples:
    """A few whole batches.

    Attributes:
        kind: what they are, for messages: `calibration samples`.
        expected: what the FP32 graph answers, by output.
    """

    feeds: Sequence[Feed]
    kind: str
    expected: Sequence[Mapping[str, Array]]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(samples_in(feed) for feed in self.feeds)

    def __str__(self) -> str:
        return f"{self.count} {self.kind}"


def judging_samples(
    source: Source, target: Target, recipe: Recipe, captured: Captured, workshop: Workshop
) -> JudgingSamples:
    """The first calibration data; golden inputs where there are only statistics, or nothing.

    Drawn and run once for all targets that share a capture.
    """
    if not _data(source, recipe):
        golden = captured.golden
        return JudgingSamples(feeds=golden.feeds, kind="synthetic samples", expected=golden.outputs)

    def drawn() -> JudgingSamples:
        feeds = _first(calibration_feeds(source, recipe.calibration, captured.graph)(), JUDGED_ON)
        return _answered(feeds, "calibration samples", target, captured, workshop)

    return workshop.memo.once("samples", _key(source, target, recipe), drawn)


def further_samples(
    source: Source, target: Target, recipe: Recipe, captured: Captured, workshop: Workshop
) -> JudgingSamples | None:
    """The calibration data behind those: what is chosen by its figures on the first is judged once more on others.

    Returns:
        None where there are none.
    """
    if not _data(source, recipe):
        return None

    def drawn() -> JudgingSamples | None:
        feeds = calibration_feeds(source, recipe.calibration, captured.graph)()
        _first(feeds, JUDGED_ON)
        others = _first(feeds, JUDGED_ON)
        return _answered(others, "further calibration samples", target, captured, workshop) if others else None

    return workshop.memo.once("further samples", _key(source, target, recipe), drawn)


def _data(source: Source, recipe: Recipe) -> bool:
    return recipe.statistics is None and (recipe.calibration is not None or source.calibration is not None)


def _key(source: Source, target: Target, recipe: Recipe) -> tuple[Hashable, ...]:
    return target.opset, source.digest, recipe.calibration, recipe.statistics


def _answered(feeds: list[Feed], kind: str, target: Target, captured: Captured, workshop: Workshop) -> JudgingSamples:
    place = Reference()
    session = workshop.open(place.runs(captured.graph, target, "fp32", None), place)
    expected = [with_amounts(session(feed), captured.amounts) for feed in feeds]
    return JudgingSamples(feeds=feeds, kind=kind, expected=expected)


def _first(feeds: Iterator[Feed], samples: int) -> list[Feed]:
    """Whole batches until there are this many samples."""
    taken: list[Feed] = []
    for feed in feeds:
        taken.append(feed)
        if sum(samples_in(batch) for batch in taken) >= samples:
            break
    return taken
