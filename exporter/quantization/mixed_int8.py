"""The evaluations of a search for mixed precision: int8 graphs with layers in float, as they would be shipped."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...backends.base import Array, Feed, Graph
from ...backends.places.reference import emulated, emulator
from ...calibration.statistics import Statistics
from ...profiles.findings.parity import parity, worst
from ...profiles.findings.sensitivity import ParityByLayer, Sensitivity
from ..candidates.evaluate import baseline
from ..candidates.judge import is_device
from ..draft import Draft
from ..graphs.files import read_graph
from ..progress import Advance
from ..sources.score import score
from .layer_parity import layer_parity
from .noise import literal, measure_noise
from .quantizer import Quantizer
from .relax import Requirement, relax


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedPrecision:
    """A draft that becomes int8.

    Attributes:
        lifts: those that are applied.
        feeds: batches on which SQNR is judged, on the emulator.
    """

    draft: Draft
    statistics: Statistics
    lifts: tuple[str, ...]
    feeds: Sequence[Feed]
    advance: Advance
    _expected: list[dict[str, Array]] = field(default_factory=list)

    def search(self, sqnr_db: float) -> Sensitivity | None:
        """Which layers to leave in float; None where nothing was asked for and nothing is needed.

        Args:
            sqnr_db: of full int8.
        """
        recipe = self.draft.recipe
        least, drop = recipe.least_sqnr_db("int8"), recipe.max_drop if self.draft.source.evaluate else None
        if drop is None and recipe.minimum_sqnr_db is None and sqnr_db >= least:
            return None
        self.advance(None, "sensitivity")
        quantizer = self._quantizer(())
        noise = measure_noise(
            quantizer, self._reference, self.statistics, self.feeds[0], recipe.exclude, self.draft.scratch
        )
        before = {} if drop is None else {"before": baseline(self.draft, self.advance)}
        return relax(noise, Requirement(least_db=least, drop=drop, **before), self._evaluate)

    def write(self, left: Collection[str], path: Path) -> tuple[Graph, Mapping[str, str]]:
        """The int8 graph with these layers in float, and why each node that is float is."""
        quantizer = self._quantizer(left)
        quantizer.write(self.statistics, path)
        mine = dict.fromkeys(left, "left in float: among the layers that int8 hurts most")
        return read_graph(path, self._reference.axes), {**quantizer.placement.left, **mine}

    def by_layer(self, left: Collection[str]) -> ParityByLayer:
        """Parity of each layer of the int8 graph with these layers in float."""
        self.advance(None, "parity by layer")
        return layer_parity(self._quantizer(left), self._reference, self.statistics, self.feeds[0], self.draft.scratch)

    @property
    def _reference(self) -> Graph:
        assert self.draft.reference is not None
        return self.draft.reference

    def _quantizer(self, left: Collection[str]) -> Quantizer:
        recipe, scheme = self.draft.recipe, self.draft.target.scheme
        assert scheme is not None
        return Quantizer.of(self._reference, scheme, (*recipe.exclude, *literal(left)), recipe.ranges, self.lifts)

    def _evaluate(self, left: tuple[str, ...]) -> tuple[float, float | None]:
        """SQNR on the emulator, and the metric on the target's engine where it runs here, else on the emulator."""
        self.advance(None, f"{len(left)} layers in float")
        with tempfile.TemporaryDirectory(dir=self.draft.scratch) as directory:
            graph, _ = self.write(left, Path(directory) / "model.onnx")
            if not self._expected:
                self._expected.extend(self._outputs(self._reference))
            sqnr_db = worst(parity(self._expected, self._outputs(graph))).sqnr_db
            return sqnr_db, self._metric(graph, Path(directory) / "engine")

    def _outputs(self, graph: Graph) -> list[dict[str, Array]]:
        with emulator().open(emulated(graph), self.draft.target, self.draft.threads) as session:
            return [session(feed) for feed in self.feeds]

    def _metric(self, graph: Graph, directory: Path) -> float | None:
        draft = self.draft
        if draft.recipe.max_drop is None or draft.source.evaluate is None:
            return None
        backend, engine = emulator(), emulated(graph, "int8")
        if draft.backend.available().run and is_device(draft.target):
            directory.mkdir()
            backend, engine = draft.backend, draft.backend.compile(graph, draft.target, directory, "int8")
        with backend.open(engine, draft.target, draft.threads) as session:
            return score(draft.source.evaluate, session)
