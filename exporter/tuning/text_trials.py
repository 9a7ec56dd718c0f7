"""Trials of a decoder: a grid for all of its matrices, made into a bundle, judged on text, timed beside FP32."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ...backends.base import Engine
from ...backends.places import place_for
from ...backends.places.text_runs import Prompts
from ...backends.places.text_speed import TextTiming, time_text
from ...errors import EdgepressError
from ...profiles.budget.budget import Budget
from ...profiles.budget.figure import Figure
from ...profiles.device.target import Target
from ...profiles.findings.figures import of_report
from ...profiles.findings.language import Median
from ...profiles.findings.point import SearchPoint
from ...profiles.findings.report import Report
from ...profiles.machine.environment import this_machine, usable_cores
from ...profiles.machine.held import temporary
from ...profiles.timing.measurement import Interval
from ...profiles.timing.ratio import Ratio
from ..bundle.manifest import Bundle
from ..bundle.seal import load_report
from ..decoding.pipeline import export_decoder
from ..progress import Progress
from ..recipe import Recipe
from ..sources import DecoderSource
from ..workshop import Memo
from .result import Result
from .space import Space
from .trial_bundles import TrialBundles


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBaseline:
    """The decoder as given, exported once for all trials of this process.

    Attributes:
        base: the recipe whose open settings are searched, without its budget.
        memo: FP32's answers and what else trials have in common.
        engine: in FP32, None where none is built here.
        metric: what `evaluate()` says of FP32, None without one.
        untimed: why speed cannot be measured here; empty where it can.
    """

    source: DecoderSource
    target: Target
    base: Recipe
    memo: Memo
    engine: Engine | None
    metric: float | None
    untimed: str

    @property
    def timed(self) -> bool:
        """Whether speed is one of the objectives."""
        return not self.untimed

    def export(self, recipe: Recipe, destination: Path) -> Bundle:
        """A bundle that was judged on all windows, and not timed."""
        return export_decoder(
            self.source,
            self.target,
            replace(recipe, measure=False),
            destination,
            self.memo,
            Progress(),
            force=True,
            command="edgepress tune",
            thorough=True,
        )

    def time(self, engine: Engine, prompts: Prompts) -> TextTiming:
        """How fast an engine writes."""
        place, threads = place_for(self.target), self.base.threads or usable_cores()
        return time_text(engine, prompts, threads, name=self.source.name, host=place.host, watch=place.watch)

    @property
    def prompts(self) -> Prompts:
        """What is read and written."""
        return Prompts.within(self.source.decoder.context, self.source.decoder.vocabulary)


@contextmanager
def text_baseline(source: DecoderSource, target: Target, recipe: Recipe, untimed: str) -> Iterator[TextBaseline]:
    """Export the decoder as given; what it wrote goes when the block ends.

    Args:
        untimed: why speed is not measured; empty where it is.

    Raises:
        InputError, VerificationError, UnservedError: as an export does; a search would find nothing else.
    """
    base = replace(recipe, budget=Budget())
    with temporary() as directory:
        one = TextBaseline(
            source=source,
            target=target,
            base=base,
            memo=Memo(directory=directory),
            engine=None,
            metric=None,
            untimed=untimed,
        )
        bundle = one.export(replace(base, precision="fp32"), directory / "fp32")
        task = load_report(bundle.path).task
        yield replace(one, engine=bundle.engine, metric=None if task is None else task.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTrials(TrialBundles):
    """Runs trials of a decoder."""

    baseline: TextBaseline
    space: Space
    budget: Budget

    def run(self, number: int, point: SearchPoint) -> Result:
        """Make and measure one point; one that cannot be made is a result as well."""
        start = time.perf_counter()
        found = Result(number=number, point=dict(point), machine=str(this_machine()))
        try:
            bundle = self.baseline.export(self.space.recipe(self.baseline.base, point), self.bundle(number))
            report = load_report(bundle.path)
            found = _judged(found, report)
            if self.baseline.timed:
                found = self._timed(found, bundle, report)
        except EdgepressError as error:
            found = replace(found, early=error.message.splitlines()[0])
        return replace(found, seconds=time.perf_counter() - start)

    def _timed(self, found: Result, bundle: Bundle, report: Report) -> Result:
        """The result with its speed, and FP32's behind the shortest prompt, one after the other."""
        one, prompts = self.baseline, self.baseline.prompts
        assert bundle.engine is not None and one.engine is not None and report.language is not None
        timing = one.time(bundle.engine, prompts)
        plain = one.time(one.engine, replace(prompts, depths=prompts.depths[:1])).speed.depths[0].decode
        mine = timing.speed.depths[0].decode
        return replace(
            found,
            latency={50: _of_a_token(mine)},
            reference=_of_a_token(plain).value,
            faster=Ratio(value=mine.value / plain.value, low=mine.low / plain.high, high=mine.high / plain.low),
            figures=_figures(replace(report, language=timing.told_of(report.language))),
        )


def _judged(found: Result, report: Report) -> Result:
    """The result with what its bundle says."""
    assert report.language is not None and report.language.parity is not None
    parity, task = report.language.parity, report.task
    return replace(
        found,
        size=report.sizes.weights if report.sizes.engine is None else report.sizes.engine,
        perplexity=parity.after,
        before=parity.before,
        metric=None if task is None else task.after,
        loss=math.log(parity.after / parity.before) if task is None else task.before - task.after,
        figures=_figures(report),
    )


def _figures(report: Report) -> dict[str, float]:
    return {name: found.value for name, found in of_report(report).items() if isinstance(found, Figure)}


def _of_a_token(rate: Median) -> Interval:
    """Milliseconds of a token, of tokens a second."""
    return Interval(value=1e3 / rate.value, low=1e3 / rate.high, high=1e3 / rate.low)
