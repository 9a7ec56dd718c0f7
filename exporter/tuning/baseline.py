"""What a search is measured against: the model as given, in FP32, on the target's runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...backends.base import Engine, Feed, Session
from ...backends.places import place_for
from ...profiles.budget.budget import Budget
from ...profiles.device.target import Target
from ...profiles.machine.environment import usable_cores
from ...profiles.machine.held import temporary
from ..bundle.seal import load_report
from ..capture.captured import Captured
from ..capture.stage import captured_key
from ..pipeline import axis_ranges, export_bundle
from ..progress import Progress
from ..quantization.gather import calibration_feeds, gather
from ..quantization.noise import measure_noise
from ..quantization.quantizer import Quantizer
from ..recipe import Recipe
from ..sources import Source
from ..workshop import Memo


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The model as given, exported once for all trials of this process.

    Attributes:
        base: the recipe whose open settings are searched, without its budget.
        memo: its captured graph, which trials that do not change the model take over.
        bundle: its FP32 bundle.
        engine: its FP32 engine, None where none is built here.
        metric: what `evaluate()` says of it, None without one.
        ranking: layers by what int8 does to them, worst first; empty where there is no int8.
        untimed: why latency cannot be measured here; empty where it can.
    """

    source: Source
    target: Target
    base: Recipe
    memo: Memo
    bundle: Path
    engine: Engine | None
    feed: Feed
    metric: float | None
    ranking: tuple[str, ...]
    untimed: str
    latencies: list[float] = field(default_factory=list)

    @property
    def timed(self) -> bool:
        """Whether latency is one of the objectives."""
        return not self.untimed

    def fresh(self, directory: Path) -> Memo:
        """What one trial takes over: the model as given, but no other trial's."""
        only = {
            "captured": lambda key: key[1] == self.source.digest,
            "trained": lambda key: self.base.distill,
        }
        return self.memo.part(directory, only, shared=("metric", "savings"))

    def open(self) -> Session:
        """The FP32 engine, on all cores that this process may use."""
        assert self.engine is not None
        return place_for(self.target).open(self.engine, self.base.threads or usable_cores())


def untimed(target: Target, recipe: Recipe) -> str:
    """Why the latency of the target's engine is not measured here, one clause; empty where it is."""
    if not recipe.measure:
        return "it is switched off (`measure`)"
    return place_for(target).why_unmeasured(target)


@contextmanager
def baseline(
    source: Source,
    target: Target,
    recipe: Recipe,
    progress: Progress,
    *,
    has_int8: bool,
    checkpoint: Path | None = None,
) -> Iterator[Baseline]:
    """Export the model as given; what it wrote goes when the block ends.

    Args:
        has_int8: rank the layers by what int8 does to them.
        checkpoint: directory that keeps what pruning and training found, so that the same is not done again.

    Raises:
        InputError, VerificationError, UnservedError: as an export does; a search would find nothing else.
    """
    base = replace(recipe, budget=Budget())
    plain = replace(base, precision="fp32", prune=None, sparse=False, distill=False, measure=False)
    with temporary() as directory:
        memo = Memo(directory=directory, checkpoint=checkpoint)
        axes = axis_ranges(source, base)
        place = directory / "fp32"
        bundle = export_bundle(source, target, plain, axes, place, memo, progress, force=False, command="")
        captured: Captured = memo.known("captured", captured_key(source, target))
        task = load_report(place).task
        yield Baseline(
            source=source,
            target=target,
            base=base,
            memo=memo,
            bundle=place,
            engine=bundle.engine,
            feed=captured.golden.feeds[0],
            metric=None if task is None else task.before,
            ranking=_ranking(source, target, base, captured, memo) if has_int8 else (),
            untimed=untimed(target, recipe),
        )


def _ranking(source: Source, target: Target, base: Recipe, captured: Captured, memo: Memo) -> tuple[str, ...]:
    """Layers by what rounding each alone does to the outputs, worst first, on one batch."""
    assert target.scheme is not None
    quantizer = Quantizer.of(captured.graph, target.scheme, base.exclude, base.ranges)
    if not quantizer.placement.layers:
        return ()
    statistics = gather(source, captured.graph, quantizer, base, lambda samples: None, memo)
    feeds = captured.golden.feeds
    if base.statistics is None:
        feeds = (next(iter(calibration_feeds(source, base, captured.graph)())),)
    fresh = Quantizer.of(captured.graph, target.scheme, base.exclude, base.ranges)
    return tuple(measure_noise(fresh, captured.graph, statistics, feeds[0], base.exclude, memo.directory).ranking())
