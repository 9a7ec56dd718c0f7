"""Lower the captured graph to one precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...backends.base import Feed, Graph
from ...calibration.feeds import samples_in
from ...calibration.statistics import Statistics
from ...errors import InputError, VerificationError
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.device.target import Scheme, Target
from ..capture.captured import Captured
from ..graphs.files import read_graph
from ..progress import Advance, counted
from ..quantization.analysis.placement import Placement
from ..quantization.gains import worthwhile
from ..quantization.gather import calibration_feeds, gather
from ..quantization.mixed_int8 import MixedPrecision
from ..quantization.quantizer import Quantizer
from ..quantization.rewrites.to_float16 import to_float16
from ..recipe import Recipe
from ..sources import Source
from .candidate import Candidate

# Enough samples to tell which lift helps; each is run once for every lift. Not a number of batches, so that the batch
# size decides nothing.
JUDGING_SAMPLES = 32
# The user's metric of an int8 graph, compiled into the directory where that can be done.
Score = Callable[[Graph, Path], float]


class NothingToQuantizeError(InputError):
    """The model has nothing that can be int8."""


def float_candidate(precision: PrecisionName, reference: Graph, recipe: Recipe, scratch: Path) -> Candidate:
    """The captured graph in a float precision.

    bf16 is a choice of the runtime: its graph is the FP32 one. In fp16, inputs and outputs keep their types.
    """
    graph = reference
    if load_precision(precision).storage == "float16":
        path = scratch / precision / "model.onnx"
        if not path.exists():
            path.parent.mkdir()
            to_float16(reference.path, path)
        graph = read_graph(path, reference.axes)
    return Candidate(precision=precision, graph=graph, least_db=recipe.least_golden_db(precision))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """From the captured graph to explicit Q/DQ in a target's scheme, with the lifts that pay.

    Attributes:
        precision: one of integers.
        scratch: a directory; the graph is written into one of its own in it.
        threads: intra-op threads of the reference place.
        score: asks for the metric of layers in float; None where nothing asks for it.
        before: the metric of the model as given.
    """

    precision: PrecisionName
    source: Source
    target: Target
    recipe: Recipe
    captured: Captured
    scratch: Path
    threads: int
    score: Score | None
    before: Callable[[], float]
    advance: Advance

    def candidate(self) -> Candidate:
        """The int8 candidate.

        Raises:
            NothingToQuantizeError: the model has no layer that int8 kernels exist for.
            VerificationError: int8 does not reach the least agreement on the samples.
        """
        reference, recipe = self.captured.graph, self.recipe
        quantizer = Quantizer.of(reference, self._scheme, recipe.exclude, recipe.ranges)
        if not quantizer.placement.weights:
            raise NothingToQuantizeError(
                f"Nothing in {self.source.name!r} can be int8: {_why_nothing(quantizer.placement)}.",
                hint="Export with --precision fp32, or look at --exclude.",
            )
        statistics = gather(self.source, reference, quantizer, recipe, counted(self.advance))
        self.advance(None, "lifts")
        feeds, kind = self._judges()
        gains = worthwhile(reference, self.target, recipe, statistics, feeds, kind, self.scratch)
        return self._relaxed(statistics, gains.lifts, feeds, gains.sqnr_db, gains.samples, gains.sentences)

    def _relaxed(
        self,
        statistics: Statistics,
        lifts: tuple[str, ...],
        feeds: list[Feed],
        sqnr_db: float,
        samples: str,
        sentences: tuple[str, ...],
    ) -> Candidate:
        """Leave layers in float where that is needed, and write."""
        mixed = MixedPrecision(
            precision=self.precision,
            reference=self.captured.graph,
            target=self.target,
            recipe=self.recipe,
            statistics=statistics,
            lifts=lifts,
            feeds=feeds,
            scratch=self.scratch,
            threads=self.threads,
            score=self.score,
            before=self.before,
            advance=self.advance,
        )
        sensitivity = mixed.search(sqnr_db)
        left = () if sensitivity is None else sensitivity.left
        least = self.recipe.least_sqnr_db(self.precision)
        _judge(sqnr_db if sensitivity is None else sensitivity.reached_db, samples, least, self.precision)
        directory = self.scratch / self.precision
        directory.mkdir()
        graph, kept = mixed.write(left, directory / "model.onnx")
        return Candidate(
            precision=self.precision,
            graph=graph,
            least_db=self.recipe.least_golden_db(self.precision),
            left=kept,
            sensitivity=sensitivity,
            by_layer=mixed.by_layer(left),
            notes=(_origin(statistics, self._scheme), *sentences),
        )

    @property
    def _scheme(self) -> Scheme:
        scheme = self.target.scheme
        assert scheme is not None  # choose_precision gave int8, and a target has int8 only with a scheme
        return scheme

    def _judges(self) -> tuple[list[Feed], str]:
        """Batches to judge lifts on: the first calibration data, or golden ones where there are only statistics."""
        if self.recipe.statistics is not None:
            return list(self.captured.golden.feeds), "synthetic samples"
        feeds = calibration_feeds(self.source, self.recipe.calibration, self.captured.graph)
        return _first(feeds(), JUDGING_SAMPLES), "calibration samples"


def _judge(sqnr_db: float, samples: str, least_db: float, precision: PrecisionName) -> None:
    if sqnr_db < least_db:
        raise VerificationError(
            f"{precision} collapses: {sqnr_db:.1f} dB of SQNR against FP32 on {samples}, {least_db:g} dB needed.",
            hint="Give more calibration data, leave layers in float with --exclude, or lower --min-sqnr.",
        )


def _first(feeds: Iterator[Feed], samples: int) -> list[Feed]:
    """Whole batches until there are this many samples."""
    taken: list[Feed] = []
    for feed in feeds:
        taken.append(feed)
        if sum(samples_in(batch) for batch in taken) >= samples:
            break
    return taken


def _origin(statistics: Statistics, scheme: Scheme) -> str:
    enough = ", which were enough: the ranges had settled" if statistics.converged else ""
    return f"Calibrated on {statistics.samples} samples{enough}. Scheme {scheme.name}."


def _why_nothing(placement: Placement) -> str:
    reasons = sorted(set(placement.left.values()))
    return "; ".join(reasons) if reasons else "it has no convolution, matrix product or GEMM"
