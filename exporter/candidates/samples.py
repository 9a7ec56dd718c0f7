"""The samples that candidates are judged on: real data where there are some."""

from __future__ import annotations

from itertools import chain, islice

from ...backends.places import Reference
from ...calibration.feeds import first_batches
from ...profiles.device.target import Target
from ..capture.amounts import with_amounts
from ..capture.captured import Captured
from ..quantization.gather import JUDGED_ON, calibration_feeds
from ..quantization.judging import JudgingSamples
from ..recipe import Recipe
from ..sources import Source
from ..workshop import Workshop


def judging_samples(
    source: Source, target: Target, recipe: Recipe, captured: Captured, workshop: Workshop
) -> JudgingSamples:
    """The first calibration data; golden inputs where there are only statistics, or nothing.

    Drawn and run once for all targets that share a capture.
    """
    found = _drawn(source, target, recipe, captured, workshop, kind="calibration samples", behind=0)
    golden = captured.golden
    return found or JudgingSamples.of(captured.graph, golden.feeds, "synthetic samples", golden.outputs)


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
    proven = captured.on_samples

    def drawn() -> JudgingSamples | None:
        data = calibration_feeds(source, recipe, captured.graph)()
        known, answers = ((), ()) if behind or proven is None else (proven.feeds, proven.answers)
        if behind:
            first_batches(data, behind, captured.graph.samples)
        feeds = first_batches(chain(known, islice(data, len(known), None)), JUDGED_ON, captured.graph.samples)
        place = Reference()
        session = workshop.open(place.runs(captured.graph, target, "fp32", None), place)
        found = chain(answers[: len(feeds)], (session(feed) for feed in feeds[len(known) :]))
        expected = [with_amounts(answer, captured.amounts) for answer in found]
        return JudgingSamples.of(captured.graph, feeds, kind, expected) if feeds else None

    return workshop.memo.once(kind, (captured.graph.digest, source.digest, recipe.calibration, recipe.fit), drawn)
