"""The contest: one rule for which precision is shipped, for an export and for a device alike.

Nothing here needs torch or onnx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...profiles.device.precision import PrecisionName, load_precision, most_exact_first
from ...profiles.findings.choice import Compared, Contender, fastest, said, smaller
from ...profiles.findings.parity import worst
from ...profiles.timing.measurement import Measurement
from .candidate import Candidate, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of one precision before latencies decide.

    Attributes:
        accuracy: what was seen of it, or why it is out.
        kept: it keeps the accuracy that is asked for.
        size: bytes of its engine, None where none was built.
    """

    accuracy: str
    kept: bool = True
    size: int | None = None

    @classmethod
    def of(cls, entry: Candidate | Refused, accuracy: str = "") -> Standing:
        """Of a candidate that does, or one that was refused.

        Args:
            accuracy: what else was seen of a candidate.
        """
        if isinstance(entry, Refused):
            return cls(accuracy=entry.reason, kept=False)
        seen = f"{worst(entry.parity).weakest_db:.1f} dB on golden inputs" if entry.parity else ""
        return cls(accuracy=accuracy or seen, size=entry.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Precisions against each other.

    Attributes:
        standings: everything there is to choose from.
        measured: latencies, taken in one run.
        best: the fastest that keeps the accuracy; None where none of those was measured.
        compared: each of the others with the best of the more exact ones.
    """

    standings: Mapping[PrecisionName, Standing]
    measured: Mapping[PrecisionName, Measurement]
    best: PrecisionName | None = None
    compared: Mapping[PrecisionName, Compared] = field(default_factory=dict)

    @classmethod
    def between(
        cls, standings: Mapping[PrecisionName, Standing], measured: Mapping[PrecisionName, Measurement]
    ) -> Contest:
        """Decide: a lower precision must be shown to be faster than the best of the more exact ones."""
        kept = [precision for precision in measured if standings[precision].kept]
        best, compared = fastest(measured, kept) if kept else (None, {})
        return cls(standings=standings, measured=measured, best=best, compared=compared)

    @property
    def out(self) -> frozenset[PrecisionName]:
        """Those that do not keep the accuracy."""
        return frozenset(precision for precision, standing in self.standings.items() if not standing.kept)

    @property
    def settled(self) -> bool:
        """Whether the precisions were told apart."""
        return len(self.measured) > 1 or bool(self.out)

    def contenders(self) -> tuple[Contender, ...]:
        """For the report, the more exact first."""
        return tuple(self._contender(precision) for precision in most_exact_first(self.standings))

    def excluded(self) -> list[str]:
        """A sentence for each that is out."""
        return [f"{p} is out: {self.standings[p].accuracy.rstrip('.')}." for p in most_exact_first(self.out)]

    def comparisons(self, shipped: PrecisionName, remedy: str = "") -> list[str]:
        """A sentence for each comparison that matters to what is shipped.

        Args:
            remedy: how to get a precision that is not shipped, with `{}` for its name.
        """
        rank = load_precision(shipped).rank
        mattering = [p for p in self.compared if p == shipped or load_precision(p).rank > rank or not remedy]
        return [f"{said(self.compared[p], p)}{self._forgone(p, shipped, remedy)}." for p in mattering]

    def _forgone(self, precision: PrecisionName, shipped: PrecisionName, remedy: str) -> str:
        """What a precision that is not shipped would have had, and how to get it."""
        if precision == shipped:
            return ""
        gain = smaller(self.standings[precision].size, self.standings[shipped].size)
        if remedy:
            return f", so that it is not shipped; {remedy.format(precision)}{f', {gain}' if gain else ''}"
        return f", so that it is not shipped{f', though {gain}' if gain else ''}"

    def _contender(self, precision: PrecisionName) -> Contender:
        standing, timed, compared = (
            self.standings[precision],
            self.measured.get(precision),
            self.compared.get(precision),
        )
        return Contender(
            precision=precision,
            accuracy=standing.accuracy,
            kept=standing.kept,
            size=standing.size,
            p50=None if timed is None else timed.percentile(50),
            against=None if compared is None else compared.against,
            faster=None if compared is None else compared.ratio,
        )
