"""Run a graph over feeds and keep statistics of chosen tensors; nothing accumulates with the number of samples."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from ..backends.base import Array, Feed, Graph, SampleAxes
from ..errors import InputError
from .feeds import Feeds
from .runner import Runner, exposed
from .statistics import NO_DATA, Channels, Statistics, Tally, TensorStatistics, add_digests, digest, narrowed

# Name of a tensor to observe, and the per-channel state to keep of it (None: none).
Observed = Mapping[str, Channels | None]


# Whether enough is known is asked whenever the sample count has doubled, from here on: fewer samples agree by chance.
FIRST = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What was seen so far; it merges as `Statistics` do.

    Attributes:
        tensors: states of those that had values, all of them finite.
        unusable: why the others have none.
    """

    samples: int
    data: str
    tensors: Mapping[str, TensorStatistics]
    unusable: Mapping[str, InputError]

    def merge(self, other: Collected) -> Collected:
        """What both saw together."""
        unusable = {**other.unusable, **self.unusable}
        tensors = dict(self.tensors)
        for name, state in other.tensors.items():
            tensors[name] = tensors[name].merge(state) if name in tensors else state
        return Collected(
            samples=self.samples + other.samples,
            data=add_digests(self.data, other.data),
            tensors={name: state for name, state in tensors.items() if name not in unusable},
            unusable=unusable,
        )

    def only(self, asked: Observed) -> Collected:
        """What there is of these tensors, and no more of it than was asked for.

        Raises:
            InputError: one of them became NaN or Inf.
        """
        _require(self.unusable, asked)
        tensors = {name: narrowed(self.tensors[name], keep) for name, keep in asked.items() if name in self.tensors}
        return replace(self, tensors=tensors, unusable={})

    def statistics(self, graph: Graph, asked: Observed, *, converged: bool = False) -> Statistics:
        """The statistics of these tensors.

        Raises:
            InputError: one of them became NaN or Inf, or no batch held any element of it.
        """
        mine = self.only(asked)
        if missing := [name for name in asked if name not in mine.tensors]:
            raise InputError(f"Calibration never produced a value of {missing[0]!r}: the data set is empty there.")
        return Statistics(
            graph=graph.digest, samples=mine.samples, data=mine.data, tensors=mine.tensors, converged=converged
        )


@dataclass(slots=True)
class Collector:
    """Statistics in the making.

    Attributes:
        along: where the samples of a batch lie.
        first: index of the first sample, for messages of a shard that starts in the middle.
        unusable: tensors that became NaN or Inf, which are not counted any more.
    """

    observed: Observed
    along: SampleAxes
    first: int = 0
    samples: int = 0
    data: str = NO_DATA
    unusable: dict[str, InputError] = field(default_factory=dict)
    _tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, TensorStatistics]:
        """The states so far."""
        return {name: tally.state() for name, tally in self._tallies.items()}

    def add(self, feed: Feed, values: dict[str, Array]) -> None:
        """Take in one portion: the feed and the values of the tensors inside the graph, which are used up."""
        for name, keep in self.observed.items():
            # Taken out, so that a tensor's memory is free for the next run as soon as it is counted.
            array = values.pop(name) if name in values else feed[name]
            if name in self.unusable or not array.size:
                continue
            if not self._tallies.setdefault(name, Tally(keep)).add(array):
                self.unusable[name] = self._unusable(name, array, self.along.count(feed))
                del self._tallies[name]
        self.samples += self.along.count(feed)
        self.data = add_digests(self.data, digest(feed))

    def collected(self) -> Collected:
        """What was seen so far; what is added later does not change it."""
        return Collected(samples=self.samples, data=self.data, tensors=self.tensors, unusable=dict(self.unusable))

    def _unusable(self, name: str, array: Array, samples: int) -> InputError:
        first = self.first + self.samples
        of = f"sample {first}" if samples == 1 else f"samples {first} to {first + samples - 1}"
        if samples > 1 and array.shape[:1] == (samples,):
            of = f"sample {first + int(np.argwhere(~np.isfinite(array))[0][0])}"
        return InputError(
            f"The model's tensor {name!r} became NaN or Inf at calibration {of}.",
            hint="Look at that sample, or exclude the layer from int8 with --exclude.",
        )


def _require(unusable: Mapping[str, InputError], asked: Observed) -> None:
    for name in asked:
        if name in unusable:
            raise unusable[name]


def collect(
    graph: Graph,
    observed: Observed,
    feeds: Feeds,
    seen: Callable[[int], None] = lambda samples: None,
    settled: Callable[[Collected], bool] = lambda collected: False,
) -> Statistics:
    """One pass over the feeds for one who asks; see `Gathering.statistics`.

    Args:
        graph: the float graph.
        observed: the values to observe, graph inputs among them.
        feeds: checked calibration data.
    """
    return Gathering(graph, observed, feeds).statistics(observed, seen, settled)


class Gathering:
    """One pass over feeds that several use, each as far as it needs; it goes on where the last one left it.

    What one of them gets does not depend on the others: which values a run exposes decides how the runtime fuses, and
    so their last bits, and is the same for all. What the first batches hold is kept apart, so that the statistics of
    all others are known as well.
    """

    def __init__(self, graph: Graph, observed: Observed, feeds: Feeds, apart: int = 0, most: int = 0) -> None:
        """Prepare.

        Args:
            observed: what anybody may ask for.
            feeds: checked calibration data, the same at each call.
            apart: of the first batches, which together have at least so many samples, `beyond` knows nothing; 0 keeps
                nothing for it.
            most: the batches behind those count for `beyond` until together they have at least so many samples.
        """
        self._graph, self._observed, self._feeds = graph, observed, feeds
        self._apart, self._most = apart, most
        self._first = self._rest = Collector(observed, graph.samples)
        self._portions = 0
        self._ends: set[int] = set()
        self._marks: list[Collected] = []
        self._beyond: Collected | None = None
        self._ended = False

    def statistics(
        self,
        asked: Observed,
        seen: Callable[[int], None] = lambda samples: None,
        settled: Callable[[Collected], bool] = lambda collected: False,
    ) -> Statistics:
        """The statistics of these tensors.

        Args:
            asked: some of those observed.
            seen: called after each portion of a batch with the number of samples so far.
            settled: asked whenever the sample count has doubled whether the rest need not be read.

        Raises:
            InputError: no data, or one of these tensors became NaN or Inf (which one, and by which sample).
        """
        with closing(self._doublings(asked, seen)) as marks:
            for mark in marks:
                if settled(mark.only(asked)):
                    return mark.statistics(self._graph, asked, converged=True)
        return self._collected().statistics(self._graph, asked)

    def beyond(self, asked: Observed) -> Statistics | None:
        """The statistics of these tensors on the data behind the first batches; None where there are none.

        Raises:
            InputError: one of these tensors became NaN or Inf.
        """
        if self._beyond is None:
            with closing(self._going_on(asked)) as portions:
                for _ in portions:
                    if self._beyond is not None:
                        break
        found = self._beyond
        return None if found is None or not found.samples else found.statistics(self._graph, asked)

    def first(self) -> Collected | None:
        """What was seen of the first batches, which are kept apart; None where the pass is not yet behind them."""
        return self._first.collected() if self._parted else None

    def _doublings(self, asked: Observed, seen: Callable[[int], None]) -> Generator[Collected, None, None]:
        """What had been collected at each doubling: what is known of former passes, and then new ones."""
        told = len(self._marks)
        yield from tuple(self._marks)
        with closing(self._going_on(asked)) as portions:
            for samples in portions:
                seen(samples)
                if len(self._marks) > told:
                    told += 1
                    yield self._marks[-1]

    def _going_on(self, asked: Observed) -> Generator[int, None, None]:
        """The pass from where it is; how many samples there are after each portion."""
        if self._ended:
            return
        self._require(asked)
        with exposed(self._graph, self._observed) as outputs, Runner(outputs) as run:
            for feed, values in run.all(self._noted(self._feeds()), skip=self._portions):
                self._add(feed, values)
                self._require(asked)
                yield self._samples
        if self._beyond is None and self._parted:
            self._beyond = self._rest.collected()
        self._ended = True

    def _noted(self, feeds: Iterator[Feed]) -> Iterator[Feed]:
        """The feeds; at how many samples each of them ends is kept, as portions do not tell."""
        samples = 0
        for feed in feeds:
            samples += self._graph.samples.count(feed)
            self._ends.add(samples)
            yield feed

    def _add(self, feed: Feed, values: dict[str, Array]) -> None:
        self._rest.add(feed, values)
        self._portions += 1
        samples = self._samples
        if samples >= (2 * self._marks[-1].samples if self._marks else FIRST):
            self._marks.append(self._collected())
        if samples not in self._ends:
            return
        if not self._parted and 0 < self._apart <= samples:
            self._rest = Collector(self._observed, self._graph.samples, first=samples)
        elif self._beyond is None and self._parted and self._rest.samples >= self._most:
            self._beyond = self._rest.collected()

    @property
    def _parted(self) -> bool:
        return self._rest is not self._first

    @property
    def _samples(self) -> int:
        return self._rest.first + self._rest.samples

    def _collected(self) -> Collected:
        rest = self._rest.collected()
        return self._first.collected().merge(rest) if self._parted else rest

    def _require(self, asked: Observed) -> None:
        for collector in (self._first, self._rest):
            _require(collector.unusable, asked)
