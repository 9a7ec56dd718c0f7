"""What calibration keeps of each tensor: a small state that merges exactly, whatever the order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..backends.base import Array
from ..errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorStatistics:
    """State of one tensor: number of elements, smallest and largest value."""

    count: int
    minimum: float
    maximum: float

    @classmethod
    def of(cls, array: Array) -> TensorStatistics:
        """The state of one non-empty array."""
        return cls(count=array.size, minimum=float(np.min(array)), maximum=float(np.max(array)))

    def merge(self, other: TensorStatistics) -> TensorStatistics:
        """The state of both data sets together; exact, commutative and associative."""
        return TensorStatistics(
            count=self.count + other.count,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """State of every observed tensor of one graph.

    Attributes:
        graph: digest of the graph that was run.
        samples: how many samples went in.
    """

    graph: str
    samples: int
    tensors: Mapping[str, TensorStatistics]

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both data sets: `a.merge(b) == b.merge(a)`.

        Raises:
            InputError: they are of different graphs or observe different tensors.
        """
        if self.graph != other.graph or self.tensors.keys() != other.tensors.keys():
            raise InputError("Statistics of different models do not merge.")
        merged = {name: state.merge(other.tensors[name]) for name, state in self.tensors.items()}
        return Statistics(graph=self.graph, samples=self.samples + other.samples, tensors=merged)
