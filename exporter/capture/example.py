"""Example inputs for an ONNX file, which brings none: shaped by its data, by given ranges, and by what it can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from ...backends.base import Array, AxisRange, Feed, Graph
from ...backends.places import Reference, Worker
from ...backends.places.remote import EngineFailedError
from ...calibration.storage import load_statistics
from ...profiles.device.target import Target
from ...profiles.machine.held import temporary
from ..graphs.files import free_axes, read_graph
from ..graphs.synthesis import Look, default_sizes, synthesize, synthesize_from_specs
from ..recipe import Recipe
from ..sources import Source
from ..sources.data import real_feeds
from .original import Original
from .preprocessing import with_preprocess

# Sizes that networks with a fixed sum of strides want are multiples of a power of two; images of 224 are the exception.
TRIED = (16, 32, 64, 128, 224, 256, 512)
# Enough batches to know ranges by; they are read from the start and none is kept.
LOOKED_AT = 64
# Values of an input that may be a parameter, and made-up feeds at which a file must run where there is such an input.
MOST_HELD, OTHERS = 16, 4


def with_example(source: Source, recipe: Recipe, target: Target) -> Source:
    """The source with inputs that look like its data, and what the recipe puts in front of it.

    Only an ONNX file needs the first, since others bring an example.

    Ranges, means and integer values are those of the calibration data or statistics, and never a sample of them. Free
    axes have the sizes of the data, or the recipe's; where neither says, those that the file runs at, found by trying.
    Where it runs at no made-up values, what never varied in the data and has few values is held: a shape, axes.

    Args:
        target: any; the file is tried on this machine's reference runtime.

    Raises:
        InputError: the calibration data or statistics cannot be read.
    """
    if recipe.preprocess is not None:
        # The data are images, which the network alone does not take.
        alone = replace(recipe, preprocess=None, calibration=None, statistics=None)
        network = with_example(replace(source, calibration=None), alone, target)
        return with_preprocess(replace(network, calibration=source.calibration), recipe)
    if source.onnx is None:
        return source
    graph = read_graph(source.onnx)
    looks, seen, still = _looks(source, recipe, graph)
    sizes = {**default_sizes(graph.inputs), **seen, **{name: reach.usual for name, reach in recipe.axes.items()}}
    shaped = replace(source, inputs=synthesize_from_specs(graph.inputs, 0, sizes, looks))
    if not _free(graph) and not still:
        return shaped
    unsaid = _unsaid(graph, {*seen, *recipe.axes})
    return _tried(shaped, graph, sizes, looks, still, unsaid, set(recipe.axes), target)


def _looks(source: Source, recipe: Recipe, graph: Graph) -> tuple[dict[str, Look], dict[str, int], dict[str, Array]]:
    """What the data look like by input, the sizes that its free axes have there, and what may be a parameter."""
    if recipe.statistics is not None:
        tensors = load_statistics(Path(recipe.statistics)).tensors
        known = {spec.name: tensors[spec.name] for spec in graph.inputs if spec.name in tensors}
        return {name: Look.between(state.minimum, state.maximum) for name, state in known.items()}, {}, {}
    looks: dict[str, Look] = {}
    sizes: dict[str, int] = {}
    still: dict[str, Array] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    free = free_axes(graph.inputs)
    feeds = real_feeds(source, recipe, graph.inputs)
    for feed in () if feeds is None else islice(feeds(), LOOKED_AT):
        still = {
            name: array
            for name, array in feed.items()
            if (np.array_equal(still[name], array) if name in still else not looks and _may_hold(array, name in free))
        }
        for name, array in ((name, array) for name, array in feed.items() if array.size):
            looks[name] = looks[name].with_more(array) if name in looks else Look.of(array)
        for name, size in _sizes(graph, feed).items():
            sizes.setdefault(name, size)
        shapes |= {name: array.shape for name, array in feed.items()}
    never = {name: axes for name, axes in free.items() if name in shapes and name not in looks}
    sizes |= {size: 0 for name, axes in never.items() for axis, size in axes.items() if not shapes[name][axis]}
    return looks, sizes, still


def _may_hold(array: Array, free: bool) -> bool:
    """A parameter of an operator and no sample: a few values along one fixed axis, which are not all the same."""
    return not free and array.ndim == 1 and array.size <= MOST_HELD and bool((array != array[:1]).any())


def _sizes(graph: Graph, feed: Feed) -> dict[str, int]:
    """Sizes of the free axes of a batch; a batch itself may be of any size, so the first axis says nothing."""
    return {
        name: int(feed[tensor].shape[axis])
        for tensor, axes in free_axes(graph.inputs).items()
        for axis, name in axes.items()
        if axis and feed[tensor].shape[axis] > 1
    }


def _free(graph: Graph) -> list[str]:
    return list(dict.fromkeys(name for axes in free_axes(graph.inputs).values() for name in axes.values()))


def _unsaid(graph: Graph, said: set[str]) -> list[str]:
    """Free axes whose size nobody said, but for the batch."""
    return [name for name in _free(graph) if name not in said | _batches(graph)]


def _batches(graph: Graph) -> set[str]:
    """Free axes that come first in an input."""
    return {axes[0] for axes in free_axes(graph.inputs).values() if 0 in axes}


def _tried(
    source: Source,
    graph: Graph,
    sizes: Mapping[str, int],
    looks: Mapping[str, Look],
    still: Mapping[str, Array],
    unsaid: list[str],
    given: set[str],
    target: Target,
) -> Source:
    """The source at the first sizes that the file runs at, and the ranges that it runs in; parameters are held last."""
    try:
        Worker().check(graph, Reference().stand_in(target))
    except EngineFailedError:
        return source  # it crashes the runtime; capture says so
    with temporary() as directory:
        trial = _Trial(
            values=Original.of(graph.path, directory).values,
            graph=graph,
            looks=looks,
            dynamic=source.dynamic,
            others=OTHERS if still else 0,
        )
        tries = list(_tries(graph, sizes, unsaid, given))
        holding = ({}, still) if still else ({},)
        found = next(((one, held) for held in holding for one in tries if trial.runs(one, held)), None)
        if found is None:
            return source
        usual, held = found
        ranges = trial.ranges(usual, held, [name for name in _free(graph) if name not in given])
    return replace(source, inputs=trial.feed(usual, held), ranges=ranges, held=frozenset(held))


def _tries(graph: Graph, sizes: Mapping[str, int], unsaid: list[str], given: set[str]) -> Iterator[dict[str, int]]:
    """Sizes of all free axes, in the order in which they are tried."""
    tries = [dict(sizes), *({**sizes, **dict.fromkeys(unsaid, size)} for size in (TRIED if unsaid else ()))]
    yield from tries
    # A batch that is declared free and is one sample inside, as a state or a Reshape fixes it.
    alone = dict.fromkeys(_batches(graph) - given, 1)
    yield from ({**one, **alone} for one in (*tries, {**sizes, **dict.fromkeys(unsaid, 1)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """A file that is run at sizes.

    Attributes:
        others: made-up feeds at which it must run besides the first one.
    """

    values: Callable[[Feed], object]
    graph: Graph
    looks: Mapping[str, Look]
    dynamic: Mapping[str, Mapping[int, str]]
    others: int

    def feed(self, sizes: Mapping[str, int], held: Feed) -> dict[str, Array]:
        """Inputs of these sizes, in which some are held."""
        return {**synthesize_from_specs(self.graph.inputs, 0, sizes, self.looks), **held}

    def runs(self, sizes: Mapping[str, int], held: Feed) -> bool:
        """Whether the file runs at these sizes."""
        example = self.feed(sizes, held)
        others = (synthesize(example, self.dynamic, sizes, seed, held) for seed in range(self.others))
        try:
            for one in (example, *others):
                self.values(one)
        except Exception:  # whatever the runtime raises
            return False
        return True

    def ranges(self, usual: Mapping[str, int], held: Feed, names: list[str]) -> dict[str, AxisRange]:
        """From one to eight times the usual size of each axis, as far as the file runs at one and at twice that."""
        small = self._reached(usual, dict.fromkeys(names, 1), held)
        large = self._reached(usual, {name: 2 * usual[name] for name in names}, held)
        return {
            name: AxisRange(
                smallest=small[name], usual=usual[name], largest=usual[name] * (8 if large[name] > usual[name] else 1)
            )
            for name in names
        }

    def _reached(self, usual: Mapping[str, int], wanted: Mapping[str, int], held: Feed) -> dict[str, int]:
        """The sizes wanted where the file runs at all of them; else axis after axis, as far as it goes along."""
        if self.runs({**usual, **wanted}, held):
            return {**usual, **wanted}
        reached = dict(usual)
        for name, size in wanted.items():
            if self.runs({**reached, name: size}, held):
                reached[name] = size
        return reached
