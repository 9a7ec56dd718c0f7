"""Statistics for a model and a target: collected here, or read from a file that other machines helped to fill."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

from ...backends.base import AxisRange, Feed, Graph
from ...calibration.collect import Collected, Gathering, Observed
from ...calibration.feeds import Feeds, checked, feeds_from_object, feeds_from_path, samples_in
from ...calibration.settled import Settled
from ...calibration.statistics import Channels, Statistics
from ...calibration.storage import load_statistics
from ...calibration.workers import gathered_in_processes
from ...errors import InputError
from ...profiles.device.target import Target, schemes
from ...profiles.machine.held import temporary
from ..capture.capture import capture
from ..recipe import Recipe
from ..sources import Source
from ..workshop import Memo
from .quantizer import Quantizer

# Ranges that are judged on other data than they were fitted to come of so many samples: with fewer there is nothing to
# compare, and more would not change them enough to be worth the time.
FEWEST_BEYOND, MOST_BEYOND = 64, 256


def calibrate(
    source: Source, target: Target, recipe: Recipe, axes: dict[str, AxisRange], seen: Callable[[int], None]
) -> Statistics:
    """Capture the source as `export` would, and collect what its int8 for this target needs.

    Raises:
        InputError: a target without int8, or faults of the model or the data.
    """
    if target.scheme is None:
        raise InputError(f"Target {target.name} has no int8, so there is nothing to calibrate.")
    with temporary() as scratch:
        graph = capture(source, target.opset, scratch / "model.onnx", axes)
        quantizer = Quantizer.of(graph, target.scheme, recipe.exclude, recipe.ranges)
        return gather(source, graph, quantizer, recipe, seen, Memo(directory=scratch))


def gather(
    source: Source, graph: Graph, quantizer: Quantizer, recipe: Recipe, seen: Callable[[int], None], memo: Memo
) -> Statistics:
    """The statistics that the recipe names, or else those of its data, which are read once for all schemes.

    Raises:
        InputError: statistics of another model or target, or faults of the data.
    """
    asked = quantizer.placement.observed()
    if recipe.statistics is not None:
        return _fitting(load_statistics(Path(recipe.statistics)), recipe.statistics, graph, asked)
    feeds, observed = calibration_feeds(source, recipe.calibration, graph), observed_together(graph, asked, memo)
    key = _key(source, graph, recipe, observed)
    if recipe.workers > 1:

        def gathered() -> Collected:
            return gathered_in_processes(graph, observed, asked, feeds, recipe.workers, seen)

        return memo.once("gathered", key, gathered).statistics(graph, asked)
    settled = _never if recipe.all_samples else Settled(quantizer.ranges, quantizer.scheme.activation)
    gathering = memo.once("gathering", key, lambda: Gathering(graph, observed, feeds))
    return gathering.statistics(asked, seen, settled)


def beyond(
    source: Source, graph: Graph, quantizer: Quantizer, recipe: Recipe, first: int, memo: Memo
) -> Statistics | None:
    """Statistics of the calibration data behind the first batches, which have so many samples and are judged on.

    Returns:
        None where there are only statistics, or where too few samples are left.

    Raises:
        InputError: faults of the data.
    """
    if recipe.statistics is not None:
        return None

    def rest() -> Iterator[Feed]:
        skipped = taken = 0
        for feed in calibration_feeds(source, recipe.calibration, graph)():
            if skipped < first:
                skipped += samples_in(feed)
            elif taken < MOST_BEYOND:
                taken += samples_in(feed)
                yield feed
            else:
                return

    asked = quantizer.placement.observed()
    observed = observed_together(graph, asked, memo)
    key = (*_key(source, graph, recipe, observed), first)
    gathering = memo.once(
        "beyond", key, lambda: None if next(rest(), None) is None else Gathering(graph, observed, rest)
    )
    statistics = None if gathering is None else gathering.statistics(asked)
    return statistics if statistics is not None and statistics.samples >= FEWEST_BEYOND else None


def observed_together(graph: Graph, asked: Observed, memo: Memo) -> Observed:
    """What a pass observes: what all built-in schemes ask for, so that any of them can use it.

    It is the same whichever targets share a run, as the values that a pass exposes decide their last bits. What that
    does not cover is observed for itself.
    """
    everything = memo.once("observed", graph.digest, lambda: _asked_by_any(graph))
    covered = all(
        name in everything and (keep is None or ((kept := everything[name]) is not None and kept.covers(keep)))
        for name, keep in asked.items()
    )
    return everything if covered else asked


def _asked_by_any(graph: Graph) -> Observed:
    found: dict[str, Channels | None] = {}
    for scheme in schemes():
        if scheme.opset > graph.opset:
            continue
        for name, keep in Quantizer.of(graph, scheme).placement.observed().items():
            kept = found.get(name)
            found[name] = keep if kept is None else kept if keep is None else kept.joined(keep)
    return found


def _never(collected: Collected) -> bool:
    """All data are read."""
    return False


def _key(source: Source, graph: Graph, recipe: Recipe, observed: Observed) -> tuple[Hashable, ...]:
    """What decides a pass."""
    return source.digest, graph.digest, recipe.calibration, frozenset(observed.items())


def calibration_feeds(source: Source, path: str | None, graph: Graph) -> Feeds:
    """The calibration data: the path if one is given, else the model file's function; checked as they stream.

    Raises:
        InputError: no data, or a path that cannot be read; faults of single samples are raised while iterating.
    """
    if path is not None:
        batch = next((len(array) for array in source.inputs.values() if array.ndim), 1)
        return checked(feeds_from_path(Path(path), graph.inputs, batch), graph.inputs, path)
    if source.calibration is None:
        raise InputError(
            f"{source.name} brings no calibration data.",
            hint="Add calibration() to the model file, or give --calibration PATH.",
        )
    return checked(feeds_from_object(source.calibration), graph.inputs, "calibration()")


def _fitting(statistics: Statistics, path: str, graph: Graph, asked: Observed) -> Statistics:
    if statistics.graph != graph.digest:
        raise InputError(
            f"{path} was collected on another model ({statistics.graph[:12]}, this one is {graph.digest[:12]}).",
            hint="Calibrate again: weights, model code, opset and exporter versions must be the same.",
        )
    hint = "Calibrate with --target of the target that is exported."
    if missing := sorted(asked.keys() - statistics.tensors.keys()):
        raise InputError(
            f"{path} does not observe {missing[0]!r} and {len(missing) - 1} more tensors that this target quantizes.",
            hint=hint,
        )
    for name, keep in sorted(asked.items()):
        channels = statistics.tensors[name].channels
        if keep is not None and (channels is None or not channels.kept.covers(keep)):
            raise InputError(f"{path} does not tell apart the channels of {name!r} along axis {keep.axis}.", hint=hint)
    return statistics
