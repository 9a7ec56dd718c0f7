"""Statistics for a model and a target: collected here, or read from a file that other machines helped to fill."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...backends.base import AxisRange, Feed, Graph
from ...backends.places import Reference
from ...calibration.collect import Collected, Gathering, Observed
from ...calibration.feeds import Feeds
from ...calibration.settled import Settled
from ...calibration.statistics import Channels, Examples, Statistics
from ...calibration.storage import load_statistics
from ...calibration.workers import gathered_in_processes
from ...errors import InputError
from ...profiles.device.target import Target, schemes
from ...profiles.machine.held import temporary
from ..capture.capture import capture
from ..capture.samples_apart import with_samples
from ..capture.stage import moves_bytes
from ..graphs.files import read_whole
from ..recipe import Recipe
from ..sources import Source
from ..sources.data import real_feeds
from ..workshop import Memo
from .excluding import check_patterns
from .noise import fewer
from .quantizer import Quantizer

# The first batches that hold so many samples are what candidates are judged on: enough to tell which lift helps, where
# that is close. Not a number of batches, so that the batch size decides nothing.
JUDGED_ON = 32
# Ranges that are judged on other data than they were fitted to come of so many samples: with fewer there is nothing to
# compare, and more would not change them enough to be worth the time.
FEWEST_BEYOND, MOST_BEYOND = 64, 256
# Of so many, parts show already by how much int8 depends on which samples its ranges come of.
FEWEST_COMPARED = 16
# Lifts that run the graph get so many: 96 gave what 32 do (docs/decisions/0100-means-made-good.md). Fewer where
# the largest feature map of all together has more values: a few such maps are many places. It is the largest that any
# scheme rounds: one that a convolution gives to a pool counts where this scheme rounds behind that alone.
MOST_EXAMPLES, FEWEST_EXAMPLES, _EXAMPLE_VALUES = 32, 4, 1 << 22


def calibrate(
    source: Source, target: Target, recipe: Recipe, axes: dict[str, AxisRange], seen: Callable[[int], None]
) -> Statistics:
    """Capture the source as `export` would, and collect what its int8 for this target needs.

    Raises:
        InputError: a target without int8, faults of the model or the data, or `exclude` matches nothing.
    """
    if target.scheme is None:
        raise InputError(f"Target {target.name} has no int8, so there is nothing to calibrate.")
    with temporary() as scratch:
        moves = moves_bytes(source, target)
        graph = capture(source, target.opset, scratch / "model.onnx", axes, moves_bytes=moves)
        with Reference().values(graph.path) as run:
            graph = with_samples(graph, source, recipe.seed, run)
        check_patterns(recipe.exclude, graph, target.scheme)
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
    if recipe.workers > 1:
        return _in_processes(source, graph, asked, recipe, seen, memo).statistics(graph, asked)
    settled = _never if recipe.all_samples else Settled(quantizer.ranges, quantizer.scheme.activation)
    return _gathering(source, graph, asked, recipe, memo).statistics(asked, seen, settled)


def beyond(
    source: Source, graph: Graph, quantizer: Quantizer, recipe: Recipe, memo: Memo, fewest: int = FEWEST_BEYOND
) -> Statistics | None:
    """Statistics of the calibration data behind the first batches, which are judged on; of the same pass over them.

    Args:
        fewest: how many samples they have to be of.

    Returns:
        None where there are only statistics, or where too few samples are left.

    Raises:
        InputError: faults of the data.
    """
    if recipe.statistics is not None:
        return None
    asked = quantizer.placement.observed()
    statistics = _gathering(source, graph, asked, recipe, memo).beyond(asked)
    return statistics if statistics is not None and statistics.samples >= fewest else None


def known_of_first(source: Source, graph: Graph, recipe: Recipe, memo: Memo) -> dict[str, float]:
    """The largest magnitudes on the samples that candidates are judged on, by name, as far as a pass has shown them.

    Returns:
        Nothing where this run has made no pass over the data yet.
    """
    first = _first(source, graph, recipe, memo)
    return {} if first is None else {name: state.largest for name, state in first.tensors.items()}


def _first(source: Source, graph: Graph, recipe: Recipe, memo: Memo) -> Collected | None:
    """What a pass over the data has shown of those samples; None where this run has made none yet."""
    observed = memo.found("observed", graph.digest)
    gathering: Gathering | None = (
        None if observed is None else memo.found("gathering", _key(source, graph, recipe, observed))
    )
    return None if gathering is None else gathering.first()


def _gathering(source: Source, graph: Graph, asked: Observed, recipe: Recipe, memo: Memo) -> Gathering:
    """The pass over the data that all schemes share."""
    feeds, observed = calibration_feeds(source, recipe, graph), observed_together(graph, asked, memo)
    key = _key(source, graph, recipe, observed)
    return memo.once("gathering", key, lambda: Gathering(graph, observed, feeds, JUDGED_ON, MOST_BEYOND))


def _in_processes(
    source: Source, graph: Graph, asked: Observed, recipe: Recipe, seen: Callable[[int], None], memo: Memo
) -> Collected:
    feeds, observed = calibration_feeds(source, recipe, graph), observed_together(graph, asked, memo)

    def gathered() -> Collected:
        return gathered_in_processes(graph, observed, asked, feeds, recipe.workers, seen)

    return memo.once("gathered", _key(source, graph, recipe, observed), gathered)


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
    model = read_whole(graph.path)
    for scheme in schemes():
        if scheme.opset > graph.opset:
            continue
        for name, keep in Quantizer.of(graph, scheme, model=model).placement.observed().items():
            kept = found.get(name)
            found[name] = keep if kept is None else kept if keep is None else kept.joined(keep)
    return found


def _never(collected: Collected) -> bool:
    """All data are read."""
    return False


def _key(source: Source, graph: Graph, recipe: Recipe, observed: Observed) -> tuple[Hashable, ...]:
    """What decides a pass."""
    return *_data(source, graph, recipe), frozenset(observed.items())


def _data(source: Source, graph: Graph, recipe: Recipe) -> tuple[Hashable, ...]:
    """What decides what is read."""
    return source.digest, graph.digest, recipe.calibration, recipe.fit


def with_examples(
    statistics: Statistics, others: Statistics, source: Source, graph: Graph, recipe: Recipe, memo: Memo
) -> tuple[Statistics, Statistics]:
    """Both with a few samples of the data that the others come of: no more than leave the memory as it is.

    They are read when somebody asks for them, which may raise InputError, and once for all targets.
    """
    largest = _largest(source, graph, others, recipe, memo)
    most = int(np.clip(_EXAMPLE_VALUES // largest, FEWEST_EXAMPLES, MOST_EXAMPLES))
    key = (*_data(source, graph, recipe), most)
    examples = Examples(read=lambda: memo.once("examples", key, lambda: tuple(_examples(source, graph, recipe, most))))
    return replace(statistics, examples=examples), replace(others, examples=examples)


def _largest(source: Source, graph: Graph, others: Statistics, recipe: Recipe, memo: Memo) -> int:
    """Values of the largest feature map of one sample, of those that any scheme rounds."""
    first = _first(source, graph, recipe, memo)
    tensors, samples = (others.tensors, others.samples) if first is None else (first.tensors, first.samples)
    return max(1, *(state.count // max(1, samples) for state in tensors.values()))


def _examples(source: Source, graph: Graph, recipe: Recipe, most: int) -> Iterator[Feed]:
    left = most
    for feed in data_behind(source, graph, recipe, most)[0]:
        some = fewer(feed, graph, left)
        left -= graph.samples.count(some)
        yield some
        if left <= 0:
            return


def data_behind(source: Source, graph: Graph, recipe: Recipe, most: int = MOST_BEYOND) -> tuple[list[Feed], int]:
    """Whole batches behind the first JUDGED_ON samples, of `most` samples or a little more; and how many they are.

    Raises:
        InputError: faults of the data.
    """
    taken: list[Feed] = []
    seen = samples = 0
    for feed in calibration_feeds(source, recipe, graph)():
        if seen >= JUDGED_ON:
            taken.append(feed)
            samples += graph.samples.count(feed)
        seen += graph.samples.count(feed)
        if samples >= most:
            break
    return taken, samples


def calibration_feeds(source: Source, recipe: Recipe, graph: Graph) -> Feeds:
    """The calibration data: the recipe's if it names some, else the model file's function; checked as they stream.

    Raises:
        InputError: no data, or a path that cannot be read; faults of single samples are raised while iterating.
    """
    feeds = real_feeds(source, recipe, graph.inputs)
    if feeds is None:
        raise InputError(
            f"{source.name} brings no calibration data.",
            hint="Add calibration() to the model file, or give --calibration PATH.",
        )
    return feeds


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
