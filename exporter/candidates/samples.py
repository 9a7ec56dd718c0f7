"""The samples that candidates are judged on: real data where there are some, and what FP32 answers to them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...backends.base import Array, Feed, Graph
from ...backends.places import Reference
from ...calibration.feeds import outputs_by_row, samples_in
from ...profiles.device.target import Target
from ...profiles.findings.parity import Parity, parity
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
        by_row: outputs each row of which is a sample; of the others a feed is one.
    """

    feeds: Sequence[Feed]
    kind: str
    expected: Sequence[Mapping[str, Array]]
    by_row: Container[str] = ()

    def compare(self, answers: Sequence[Mapping[str, Array]]) -> dict[str, Parity]:
        """Answers to the feeds against those of FP32."""
        return parity(self.expected, answers, by_row=self.by_row)

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
    found = _drawn(source, target, recipe, captured, workshop, kind="calibration samples", behind=0)
    golden = captured.golden
    return found or _of(captured.graph, golden.feeds, "synthetic samples", golden.outputs)


def further_samples(
    source: Source, target: Target, recipe: Recipe, captured: Captured, workshop: Workshop
) -> JudgingSamples | None:
    """The calibration data behind those: what is chosen by its figures on the first is judged once more on others.

    Returns:
        None where there are none.
    """
    return _drawn(source, target, recipe, captured, workshop, kind="further calibration samples", behind=JUDGED_ON)


def _drawn(
    source: Source, target: Target, recipe: Recipe, captured: Captured, workshop: Workshop, *, kind: str, behind: int
) -> JudgingSamples | None:
    """Calibration data behind the first batches that hold so many samples; None where there are none."""
    if recipe.statistics is not None or (recipe.calibration is None and source.calibration is None):
        return None

    def drawn() -> JudgingSamples | None:
        data = calibration_feeds(source, recipe.calibration, captured.graph)()
        if behind:
            _first(data, behind)
        feeds = _first(data, JUDGED_ON)
        place = Reference()
        session = workshop.open(place.runs(captured.graph, target, "fp32", None), place)
        expected = [with_amounts(session(feed), captured.amounts) for feed in feeds]
        return _of(captured.graph, feeds, kind, expected) if feeds else None

    return workshop.memo.once(kind, (target.opset, source.digest, recipe.calibration), drawn)


def _of(graph: Graph, feeds: Sequence[Feed], kind: str, expected: Sequence[Mapping[str, Array]]) -> JudgingSamples:
    by_row = outputs_by_row(graph, feeds, expected)
    return JudgingSamples(feeds=feeds, kind=kind, expected=expected, by_row=by_row)


def _first(feeds: Iterator[Feed], samples: int) -> list[Feed]:
    """Whole batches until there are this many samples."""
    taken: list[Feed] = []
    for feed in feeds:
        taken.append(feed)
        if sum(samples_in(batch) for batch in taken) >= samples:
            break
    return taken
