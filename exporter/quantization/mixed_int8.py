"""Versions of a graph of integers and what is seen of each: as it would be shipped, or held out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Array, Graph
from ...backends.places import Reference
from ...calibration.statistics import Statistics
from ...errors import InputError
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.parity import Parity, assured_db, parity, worst
from ...profiles.findings.sensitivity import ParityByLayer
from ..graphs.files import read_graph
from ..progress import Advance
from ..recipe import Recipe
from .fitted import FittedWeight
from .judging import JudgingSamples
from .layer_parity import layer_parity
from .noise import Noise, literal, measure_noise
from .quantizer import Quantizer
from .relax import Evaluation

if TYPE_CHECKING:
    import onnx_ir as ir


class NothingToQuantizeError(InputError):
    """The model has nothing that can be int8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerVersion:
    """What is decided of a graph of integers beyond its placement, lifts and ranges.

    Attributes:
        left: layers in float.
        fitted: weights that data have decided, by layer. They hold for the ranges that they were fitted with, those of
            data behind the samples: such a version is judged as it ships, on samples that nothing of it has seen.
    """

    left: tuple[str, ...] = ()
    fitted: Mapping[str, FittedWeight] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedPrecision:
    """A float graph that becomes int8.

    Attributes:
        precision: one of integers.
        model: the reference, read.
        statistics: what the ranges of the graph that ships come of.
        judged: what those come of whose SQNR decides: of data beyond the feeds, the same where there are none.
        feature_maps: range method of feature maps, as `Quantizer` has it.
        lifts: those that are applied.
        samples: on which SQNR is judged, on the reference place.
        threads: intra-op threads there.
        score: the user's metric of a graph, which may be compiled into the directory; None where nobody asks for it.
        before: the metric of the model as given.
    """

    precision: PrecisionName
    reference: Graph
    model: ir.Model
    target: Target
    recipe: Recipe
    statistics: Statistics
    judged: Statistics
    feature_maps: str
    lifts: tuple[str, ...]
    samples: JudgingSamples
    scratch: Path
    threads: int
    score: Callable[[Graph, Path], float] | None
    before: Callable[[], float]
    advance: Advance

    def noise(self, version: IntegerVersion) -> Noise:
        """What each place that is rounded does alone."""
        self.advance(None, "sensitivity")
        feed, exclude = self.samples.feeds[0], self.recipe.exclude
        return measure_noise(self.quantizer(version), self.reference, self.judged, feed, exclude, self.scratch)

    def ranged_by(self, version: IntegerVersion) -> Statistics:
        """What the ranges come of with which a version ships."""
        return self.judged if version.fitted else self.statistics

    def write(self, version: IntegerVersion, path: Path) -> tuple[Graph, Mapping[str, str]]:
        """The int8 graph, and why each node that is float is.

        Raises:
            NothingToQuantizeError: with what was observed, no layer is left that can be int8.
        """
        quantizer = self.quantizer(version)
        quantizer.write(self.ranged_by(version), path)
        if not quantizer.placement.layers:
            why = "; ".join(sorted(set(quantizer.placement.left.values())))
            raise NothingToQuantizeError(
                f"Nothing in the model can be int8: {why}.", hint="Export with --precision fp32, or look at --exclude."
            )
        mine = dict.fromkeys(version.left, "left in float: among the layers that int8 hurts most")
        return read_graph(path, self.reference.axes), {**quantizer.placement.left, **mine}

    def held_out(self, version: IntegerVersion) -> dict[str, Parity]:
        """Parity with FP32 on the feeds, with ranges that were not fitted to them where there are such."""
        with self._held_out(version) as graph:
            return self.parity(graph)

    def answers(self, version: IntegerVersion) -> list[dict[str, Array]]:
        """What a version gives for the feeds, with these ranges."""
        with self._held_out(version) as graph:
            return self._answers(graph)

    @contextmanager
    def _held_out(self, version: IntegerVersion) -> Iterator[Graph]:
        with tempfile.TemporaryDirectory(dir=self.scratch) as directory:
            path = Path(directory) / "model.onnx"
            self.quantizer(version).write(self.judged, path)
            yield read_graph(path, self.reference.axes)

    def parity(self, graph: Graph) -> dict[str, Parity]:
        """Parity of a graph with FP32 on the feeds."""
        return self.samples.compare(self._answers(graph), graph)

    def against(self, expected: Sequence[Mapping[str, Array]], graph: Graph) -> dict[str, Parity]:
        """Parity of a graph with other answers to the feeds."""
        return parity(expected, self._answers(graph), by_sample=self.samples.by_sample)

    def by_layer(self, version: IntegerVersion) -> ParityByLayer:
        """Parity of each layer of the int8 graph."""
        self.advance(None, "parity by layer")
        feeds = self.samples.feeds
        feed = next((feed for feed in feeds if all(array.size for array in feed.values())), feeds[0])
        return layer_parity(self.quantizer(version), self.reference, self.ranged_by(version), feed, self.scratch)

    def quantizer(self, version: IntegerVersion) -> Quantizer:
        """Of the float graph, fresh."""
        recipe, scheme = self.recipe, self.target.scheme
        assert scheme is not None
        exclude = (*recipe.exclude, *literal(version.left))
        return Quantizer.of(
            self.reference, scheme, exclude, recipe.ranges, self.lifts,
            model=self.model, fitted=version.fitted, feature_maps=self.feature_maps,
        )  # fmt: skip

    def evaluate(self, version: IntegerVersion) -> Evaluation:
        """On the reference place, but for the metric, which is that of what would ship."""
        self.advance(None, f"{len(version.left)} layers in float" if version.left else "evaluation")
        found = self.held_out(version)
        metric = None if self.score is None else self._metric(self.score, version)
        return Evaluation(sqnr_db=worst(found).weakest_db, assured_db=assured_db(found), metric=metric)

    def _metric(self, score: Callable[[Graph, Path], float], version: IntegerVersion) -> float:
        with tempfile.TemporaryDirectory(dir=self.scratch) as directory:
            graph, _ = self.write(version, Path(directory) / "model.onnx")
            return score(graph, Path(directory) / "engine")

    def _answers(self, graph: Graph) -> list[dict[str, Array]]:
        place = Reference()
        with place.open(place.runs(graph, self.target, self.precision, None), self.threads) as session:
            return [session(feed) for feed in self.samples.feeds]
