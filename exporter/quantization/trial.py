"""Graphs on trial, two of which answer to no more samples than tell them apart."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...backends.base import Array, Graph, Session
from ...backends.places import Reference
from ...calibration.statistics import Statistics
from ...profiles.device.target import Target
from ...profiles.findings.parity import Parity, parity, worst
from ...profiles.findings.spread import FEWEST, SampleSums, gained
from ..graphs.files import BESIDE
from ..recipe import Recipe
from .judging import JudgingSamples
from .quantizer import Quantizer

if TYPE_CHECKING:
    import onnx_ir as ir

# Standard errors between a difference and what it has to reach: with eight samples, of which the error itself is known
# by seven degrees of freedom, Student's t has 1 % beyond it.
CLEAR = 3.0


@dataclass(slots=True, kw_only=True)
class GraphTrial:
    """A graph in a directory of its own, which answers to each batch at most once, when it is asked for.

    It stays open until it is dropped, as small networks take longer to open than to run.

    Attributes:
        target: as which it runs, on the reference place.
        method: range method of feature maps.
        lifts: that were applied.
        notes: what each of them did, of those that did anything.
    """

    graph: Graph
    target: Target
    samples: JudgingSamples
    method: str
    lifts: tuple[str, ...]
    notes: Mapping[str, str]
    _answers: list[dict[str, Array]] = field(default_factory=list)
    _session: Session | None = None

    @property
    def seen(self) -> int:
        """To how many batches it has answered."""
        return len(self._answers)

    def parity(self, batches: int | None = None) -> dict[str, Parity]:
        """Agreement with FP32 on the first batches, or on all."""
        first = self.samples.first(len(self.samples.feeds) if batches is None else batches)
        if lacking := first.feeds[self.seen :]:
            place = Reference()
            session = self._session or place.open(place.runs(self.graph, self.target, "fp32", None))
            self._session = session
            self._answers += [session(feed) for feed in lacking]
        return first.compare(self._answers[: len(first.feeds)], self.graph)

    def sums(self, batches: int) -> dict[str, list[SampleSums]]:
        """Energies of each sample of the first batches, which it has answered to, by output."""
        axes, pairs = self.samples.by_sample, list(zip(self.samples.expected, self._answers, strict=False))[:batches]
        return {
            name: [_sums(right[name], answer[name], axes.get(name)) for right, answer in pairs]
            for name in self.samples.expected[0]
        }

    def promises(self, least_db: float) -> bool:
        """Whether so much SQNR is there to gain where the mean error of each output value is taken away, in dB.

        On the first samples where they say so, as whatever could gain is tried next to this graph; else on all.
        """
        return any(self.promises_db(batches) >= least_db for batches in _looks(self.samples))

    def promises_db(self, batches: int) -> float:
        """How much that is on the first batches; of several outputs the largest.

        The energy of means over n samples is taken off by what n errors without a mean would leave, a share of 1/n.
        Infinite where samples cannot be told apart, or are too few.
        """
        self.parity(batches)
        first, axes = self.samples.first(batches), self.samples.by_sample
        floats = [name for name, array in first.expected[0].items() if array.dtype.kind == "f"]
        if not floats or any(name not in axes for name in floats) or first.count < FEWEST:
            return math.inf
        return max(self._in_means_db(name, axes[name], batches) for name in floats)

    def _in_means_db(self, name: str, axis: int, batches: int) -> float:
        pairs = zip(self.samples.expected[:batches], self._answers[:batches], strict=True)
        errors = [
            np.moveaxis(answer[name].astype(np.float64) - right[name].astype(np.float64), axis, 0)
            for right, answer in pairs
        ]
        if len({one.shape[1:] for one in errors}) > 1:
            return math.inf
        count = sum(map(len, errors))
        total = sum(float(np.square(one).sum()) for one in errors)
        means = float(np.square(sum(one.sum(0) for one in errors)).sum()) / count
        share = max(0.0, means / total - 1 / count) / (1 - 1 / count) if total > 0 else 0.0
        return math.inf if share >= 1 else -10 * math.log10(1 - share)

    def drop(self) -> None:
        """Close and delete the graph, of which nobody asks more answers."""
        if self._session is not None:
            self._session.close()
            self._session = None
        shutil.rmtree(self.graph.path.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTrials:
    """Puts graphs on trial.

    Attributes:
        target: as which they run, of the scheme that they are in.
        model: the reference, where it has been read.
        directory: each is written into a directory of its own in it.
    """

    reference: Graph
    target: Target
    recipe: Recipe
    samples: JudgingSamples
    model: ir.Model | None
    directory: Path

    def of(self, method: str, statistics: Statistics, lifts: tuple[str, ...] = ()) -> GraphTrial:
        """The graph with a range method of feature maps and lifts, its ranges of these statistics."""
        recipe, scheme, path = (
            self.recipe,
            self.target.scheme,
            Path(tempfile.mkdtemp(dir=self.directory)) / "model.onnx",
        )
        assert scheme is not None
        quantizer = Quantizer.of(
            self.reference, scheme, recipe.exclude, recipe.ranges, lifts, model=self.model, feature_maps=method
        )
        notes, graph = quantizer.write(statistics, path, BESIDE), replace(self.reference, path=path)
        return GraphTrial(
            graph=graph, target=self.target, samples=self.samples, method=method, lifts=lifts, notes=notes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceOutcome:
    """Which of two graphs stands.

    Attributes:
        passed: the second is better by what was asked.
        before_db, after_db: SQNR of both, on the same samples.
        samples: those, the first of all or all.
    """

    passed: bool
    before_db: float
    after_db: float
    samples: JudgingSamples

    def __str__(self) -> str:
        return f"{self.before_db:.1f} to {self.after_db:.1f} dB on {self.samples.count} samples"


def race(before: GraphTrial, after: GraphTrial, least_db: float) -> RaceOutcome:
    """Whether the second graph has so many dB of SQNR more than the first, by as many samples as make that clear.

    Both answer to the first batches, and to twice as many each time that these leave it open. On all samples the
    figures decide, clear or not.
    """
    samples = after.samples
    for batches in _looks(samples):
        figures = [worst(trial.parity(batches)).weakest_db for trial in (before, after)]
        passed = _clearly(before, after, batches, least_db) if batches < len(samples.feeds) else None
        if passed is not None:
            break
    else:
        passed = figures[1] >= figures[0] + least_db
    return RaceOutcome(passed=passed, before_db=figures[0], after_db=figures[1], samples=samples.first(batches))


def _clearly(before: GraphTrial, after: GraphTrial, batches: int, least_db: float) -> bool | None:
    """Whether it is, where so many batches tell."""
    gain = gained(before.sums(batches), after.sums(batches))
    if gain is None or abs(gain.db - least_db) <= CLEAR * gain.error_db:
        return None
    return gain.db >= least_db


def _looks(samples: JudgingSamples) -> Iterator[int]:
    """After how many batches a look is taken, the last time after all."""
    batches, every = 1, len(samples.feeds)
    while batches < every and samples.first(batches).count < FEWEST:
        batches += 1
    if batches < every and _tell_of_others(samples):
        while batches < every:
            yield batches
            batches *= 2
    yield every


def _tell_of_others(samples: JudgingSamples) -> bool:
    """Whether the first samples can speak for all: not where few hold the signal, as those alone decide.

    Nor where more than the energies of whole outputs is judged: groups of channels, sets of rows, classes.
    """
    expected = samples.expected
    arrays = [array for answer in expected for array in answer.values()]
    if samples.rows or not all(_is_plain(array) for array in arrays):
        return False
    return not any(seen.few or seen.groups for seen in parity(expected, expected, by_sample=samples.by_sample).values())


def _is_plain(array: Array) -> bool:
    return array.dtype.kind == "f" and array.size > 0 and bool(np.isfinite(array).all())


def _sums(right: Array, answer: Array, axis: int | None) -> SampleSums:
    reference = right.astype(np.float64)
    return SampleSums.of(reference, reference - answer.astype(np.float64), axis)
