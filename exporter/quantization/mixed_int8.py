"""The evaluations of a search for mixed precision: int8 graphs with layers in float, as they would be shipped."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Graph
from ...backends.places import Reference
from ...calibration.statistics import Statistics
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.parity import Parity, assured_db, worst
from ...profiles.findings.sensitivity import ParityByLayer, Sensitivity
from ..graphs.files import read_graph
from ..progress import Advance
from ..recipe import Recipe
from .judging import JudgingSamples
from .layer_parity import layer_parity
from .noise import literal, measure_noise
from .quantizer import Quantizer
from .relax import Evaluation, Requirement, relax

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedPrecision:
    """A float graph that becomes int8.

    Attributes:
        precision: one of integers.
        model: the reference, read.
        statistics: what the ranges of the graph that ships come of.
        judged: what those come of whose SQNR decides: of data beyond the feeds, the same where there are none.
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
    lifts: tuple[str, ...]
    samples: JudgingSamples
    scratch: Path
    threads: int
    score: Callable[[Graph, Path], float] | None
    before: Callable[[], float]
    advance: Advance

    def search(self, assured_db: float) -> Sensitivity | None:
        """Which layers to leave in float; None where nothing was asked for and nothing is needed.

        Args:
            assured_db: what full int8 has on other samples of the kind as well.
        """
        recipe = self.recipe
        least, drop = recipe.least_sqnr_db(self.precision), recipe.budget.drop if self.score is not None else None
        if drop is None and recipe.minimum_sqnr_db is None and assured_db >= least:
            return None
        self.advance(None, "sensitivity")
        noise = measure_noise(
            self._quantizer(()), self.reference, self.judged, self.samples.feeds[0], recipe.exclude, self.scratch
        )
        before = {} if drop is None else {"before": self.before()}
        return relax(noise, Requirement(least_db=least, drop=drop, **before), self._evaluate)

    def write(self, left: Collection[str], path: Path) -> tuple[Graph, Mapping[str, str]]:
        """The int8 graph with these layers in float, and why each node that is float is."""
        quantizer = self._quantizer(left)
        quantizer.write(self.statistics, path)
        mine = dict.fromkeys(left, "left in float: among the layers that int8 hurts most")
        return read_graph(path, self.reference.axes), {**quantizer.placement.left, **mine}

    def held_out(self, left: Collection[str]) -> dict[str, Parity]:
        """Parity with FP32 on the feeds, with ranges that were not fitted to them where there are such."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as directory:
            path = Path(directory) / "model.onnx"
            self._quantizer(left).write(self.judged, path)
            return self.parity(read_graph(path, self.reference.axes))

    def parity(self, graph: Graph) -> dict[str, Parity]:
        """Parity of a graph with FP32 on the feeds."""
        place = Reference()
        with place.open(place.runs(graph, self.target, self.precision, None), self.threads) as session:
            return self.samples.compare([session(feed) for feed in self.samples.feeds])

    def by_layer(self, left: Collection[str]) -> ParityByLayer:
        """Parity of each layer of the int8 graph with these layers in float."""
        self.advance(None, "parity by layer")
        feeds = self.samples.feeds
        feed = next((feed for feed in feeds if all(array.size for array in feed.values())), feeds[0])
        return layer_parity(self._quantizer(left), self.reference, self.statistics, feed, self.scratch)

    def _quantizer(self, left: Collection[str]) -> Quantizer:
        recipe, scheme = self.recipe, self.target.scheme
        assert scheme is not None
        exclude = (*recipe.exclude, *literal(left))
        return Quantizer.of(self.reference, scheme, exclude, recipe.ranges, self.lifts, model=self.model)

    def _evaluate(self, left: tuple[str, ...]) -> Evaluation:
        """On the reference place, but for the metric, which is that of what would ship."""
        self.advance(None, f"{len(left)} layers in float")
        found = self.held_out(left)
        metric = None if self.score is None else self._metric(self.score, left)
        return Evaluation(sqnr_db=worst(found).weakest_db, assured_db=assured_db(found), metric=metric)

    def _metric(self, score: Callable[[Graph, Path], float], left: tuple[str, ...]) -> float:
        with tempfile.TemporaryDirectory(dir=self.scratch) as directory:
            graph, _ = self.write(left, Path(directory) / "model.onnx")
            return score(graph, Path(directory) / "engine")
