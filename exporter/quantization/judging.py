"""The samples that int8 and what comes of it are judged on, and what FP32 answers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...backends.base import Array, Feed, Graph, SampleAxes
from ...calibration.feeds import outputs_by_sample
from ...profiles.findings.parity import Parity, parity
from ...profiles.findings.rows import Rows
from ..graphs.not_finite import told_where
from ..graphs.selection import selected_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingSamples:
    """A few whole batches.

    Attributes:
        kind: what they are, for messages: `calibration samples`.
        expected: what the FP32 graph answers, by output.
        along: where the samples of a batch lie.
        by_sample: outputs that can be parted into samples, and the axis; of the others a feed is one.
        rows: outputs that are sets of rows, in no order.
    """

    feeds: Sequence[Feed]
    kind: str
    expected: Sequence[Mapping[str, Array]]
    along: SampleAxes = field(default_factory=SampleAxes)
    by_sample: Mapping[str, int] = field(default_factory=dict)
    rows: tuple[Rows, ...] = ()

    @classmethod
    def of(
        cls, graph: Graph, feeds: Sequence[Feed], kind: str, expected: Sequence[Mapping[str, Array]]
    ) -> JudgingSamples:
        """With what the graph that the feeds are given to says of its axes."""
        return cls(
            feeds=feeds,
            kind=kind,
            expected=expected,
            along=graph.samples,
            by_sample=outputs_by_sample(graph, feeds, expected),
            rows=selected_rows(graph),
        )

    def compare(self, answers: Sequence[Mapping[str, Array]], graph: Graph) -> dict[str, Parity]:
        """Answers to the feeds against those of FP32.

        Args:
            graph: that gave them, or that an engine was compiled from.

        Raises:
            VerificationError: an output is missing, has another shape, or is not finite; then the node is named.
        """
        with told_where(graph.path, self.feeds):
            return parity(self.expected, answers, by_sample=self.by_sample, rows=self.rows)

    def first(self, batches: int) -> JudgingSamples:
        """Those of the first batches alone."""
        return replace(self, feeds=self.feeds[:batches], expected=self.expected[:batches])

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(self.along.count, self.feeds))

    @property
    def are_whole(self) -> bool:
        """Whether batches of many rows are one sample each."""
        rows = (len(array) for feed in self.feeds for array in feed.values() if array.ndim)
        return not self.along.inputs and max(rows, default=1) > 1

    def __str__(self) -> str:
        return f"{self.count} {self.kind}"
