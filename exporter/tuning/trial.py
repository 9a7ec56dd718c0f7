"""One trial: a point made into a bundle, watched on the way, and measured in turn with the FP32 engine."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ...backends.places import place_for
from ...errors import EdgepressError
from ...profiles.budget.budget import Budget
from ...profiles.device.precision import SHIPPED
from ...profiles.findings.point import SearchPoint
from ...profiles.machine.environment import this_machine, usable_cores
from ...profiles.machine.held import temporary
from ...profiles.timing.measure import Settings, measure
from ...profiles.timing.ratio import speedup
from ..bundle.manifest import Bundle
from ..pipeline import PLAN, axis_ranges, export_bundle
from ..progress import Progress
from ..recipe import Recipe
from .baseline import Baseline
from .proxies import GivenUpError, TrialWatch
from .result import Result
from .space import Space
from .trial_bundles import TrialBundles

# Enough to tell points apart by 10 %; the bundle that is chosen is measured anew, for longer.
QUICK = Settings(warmup_seconds=0.3, warmup_count=10, seconds=2.0, samples=100, slice_seconds=0.1, cap=1.5)
# A trial measures for itself, and its precision is decided.
LATER = ("measure", "choose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials(TrialBundles):
    """Runs trials of a network."""

    baseline: Baseline
    space: Space
    budget: Budget

    def run(self, number: int, point: SearchPoint) -> Result:
        """Make and measure one point. One that cannot be made, or cannot meet the budget, is a result as well.

        Raises:
            InputError: the user's code or data are at fault, with which no trial can go on.
        """
        start = time.perf_counter()
        begun = Result(number=number, point=dict(point), machine=str(this_machine()))
        watch = TrialWatch(baseline=self.baseline, budget=self.budget, others=self.others, result=begun)
        try:
            watch.expect(self.recipe(point))
            bundle = self._export(number, point, watch)
            found = self._timed(bundle, point, watch.result) if self.baseline.timed else watch.result
        except GivenUpError as given_up:
            found = given_up.result
        except EdgepressError as error:
            found = replace(watch.result, early=error.message.splitlines()[0])
        return replace(found, seconds=time.perf_counter() - start)

    def recipe(self, point: SearchPoint) -> Recipe:
        """The recipe of a point, as a trial makes it: trained for a third of the epochs."""
        recipe = self.space.recipe(self.baseline.base, point)
        epochs = recipe.training.epochs
        return replace(recipe, training=replace(recipe.training, epochs=min(epochs, max(1, epochs // 3))))

    def _export(self, number: int, point: SearchPoint, watch: TrialWatch) -> Bundle:
        one = self.baseline
        recipe, place = self.recipe(point), self.bundle(number)
        with temporary() as scratch:
            return export_bundle(
                one.source,
                one.target,
                recipe,
                axis_ranges(one.source, recipe),
                place,
                one.fresh(scratch),
                Progress(),
                force=True,
                command="edgepress tune",
                plan=[stage for stage in PLAN if stage.title not in LATER],
                watch=watch,
                watch_candidate=watch.candidate,
            )

    def _timed(self, bundle: Bundle, point: SearchPoint, result: Result) -> Result:
        """The result with latencies, of engine and FP32 engine in turn, on one inference."""
        engine = bundle.engine
        assert engine is not None
        place, threads = place_for(engine.target), int(point.get("threads") or usable_cores())
        with place.open(engine, threads) as session, self.baseline.open() as reference:
            feed = self.baseline.feed
            found = measure({SHIPPED: session.arm(feed), "fp32": reference.arm(feed)}, QUICK)
        return replace(
            result,
            latency=dict(found[SHIPPED].latency().intervals),
            reference=found["fp32"].percentile(50),
            faster=speedup(found["fp32"], found[SHIPPED]),
        )
