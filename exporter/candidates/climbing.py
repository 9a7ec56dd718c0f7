"""Climb the ladder once for all targets of a run whose integers are the same."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from ...calibration.statistics import Statistics
from ...profiles.findings.parity import assured_db, worst
from ..graphs.files import read_graph
from ..progress import Advance
from ..quantization.gains import GAP_DB, as_tried
from ..quantization.ladder import Climb, Climber
from ..quantization.mixed_int8 import IntegerVersion, MixedPrecision
from ..sources import Source
from ..workshop import Memo


@dataclass(frozen=True, slots=True, kw_only=True)
class Climbing:
    """The ladder of one target.

    Activations that differ by 128 in each integer and in their zero point stand for the same values. So a target of
    signed ones climbs with unsigned ones where these have the kernels here, and what another target of the run has
    found for the same graph of integers holds for it too. What ships is written and judged for each target by itself.

    Attributes:
        given: what decides the ladder, but for the graph of integers that it begins with.
    """

    source: Source
    memo: Memo
    advance: Advance
    given: tuple[Hashable, ...]

    def first(self, mixed: MixedPrecision, assured: float) -> Climb:
        """With ranges that were not fitted to the samples that it is judged on.

        Where nothing holds with those, and the ranges that ship are much better on these samples, the samples are of
        another kind than the data behind them, as where data are sorted: only the ranges that ship can speak for them.

        Args:
            assured: what int8 as it is has on other samples of the kind as well, in dB.
        """
        found = self._climbed(mixed, assured)
        if found.found is None or found.held or mixed.judged is mixed.statistics:
            return found
        fitted = replace(mixed, judged=mixed.statistics)
        seen = fitted.held_out(IntegerVersion())
        if worst(seen).weakest_db - worst(mixed.held_out(IntegerVersion())).weakest_db <= GAP_DB:
            return found
        return self._climbed(fitted, assured_db(seen))

    def again(self, first: Climb, statistics: Statistics) -> Climb:
        """With the ranges that ship, where the first was not quite enough with those."""
        return self._climbed(replace(first.mixed, judged=statistics), -math.inf, first)

    def _climbed(self, mixed: MixedPrecision, assured: float, before: Climb | None = None) -> Climb:
        """Climbed at most once for a graph of integers, unless a metric is asked of a target's own engine."""
        short = {} if before is None else before.short
        climber = self._climber(mixed, short)
        # Where nothing is asked there is nothing to share, and no graph is written to tell who could.
        if mixed.score is not None or not climber.is_asked(assured):
            return climber.climb(assured)
        assert mixed.target.scheme is not None
        tried = replace(mixed, target=replace(mixed.target, scheme=as_tried(mixed.target.scheme)))
        key = (*self.given, mixed.lifts, assured, tuple(short.items()), _begun(tried))
        found = self.memo.once("climb", key, lambda: self._climber(tried, short).climb(assured))
        return replace(found, mixed=mixed)

    def _climber(self, mixed: MixedPrecision, short: dict[str, str]) -> Climber:
        return Climber(mixed=mixed, source=self.source, memo=self.memo, advance=self.advance, short=short)


def _begun(mixed: MixedPrecision) -> str:
    """The digest of the graph of integers with which a ladder begins, as it is judged."""
    with tempfile.TemporaryDirectory(dir=mixed.scratch) as directory:
        path = Path(directory) / "model.onnx"
        mixed.quantizer(IntegerVersion()).write(mixed.judged, path)
        return read_graph(path).digest
