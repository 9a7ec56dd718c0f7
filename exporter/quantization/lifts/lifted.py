"""What an accuracy lift is, and what it says it did to a graph before that is quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ....backends.base import Feed
from ....calibration.statistics import TensorStatistics
from ....profiles.device.target import Scheme
from ...graphs.means import Means
from ..analysis.placed import Placement

if TYPE_CHECKING:
    import onnx_ir as ir

# Changes a rounded graph in place, given samples that it is not judged on, and what each Conv and Gemm of the float one
# gives of these in the mean, by name, with nothing in their biases that makes up for rounding.
Finish: TypeAlias = "Callable[[ir.Model, Mapping[str, Means], Sequence[Feed]], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """What a lift changed.

    Attributes:
        note: what was done, one clause; empty where there was nothing to do.
        ranges: range (low, high) of each value that the lift made or changed, by name.
        factors: by what the lift divided each channel of a value, by name, shape (C,): of those that are rounded, and
            of the results of Conv and Gemm.
        biases: the bias before, None where there was none, of each node whose new one makes up for a rounded weight.
        finish: what is left to do once the graph is rounded. Without samples, and beside weights that data decided,
            nothing of the lift is done.
    """

    note: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    factors: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    biases: Mapping[str, npt.NDArray[np.float32] | None] = field(default_factory=dict)
    finish: Finish | None = None


class Lift(Protocol):
    """A rewrite of a float graph that makes its quantized form more accurate."""

    def __call__(
        self, graph: ir.Graph, placement: Placement, statistics: Mapping[str, TensorStatistics], scheme: Scheme, /
    ) -> Lifted:
        """Rewrite in place, leaving the function of the graph as it is but for what rounding will take.

        Args:
            graph: the float graph, with what earlier lifts left in it.
            placement: what will be quantized; a lift that puts a value in another's place says so here.
            statistics: of the values that will be, by name, as the graph computes them now.
            scheme: how.
        """
        ...
