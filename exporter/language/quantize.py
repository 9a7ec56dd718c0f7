"""A decoder's weights on grids: rounded as they are asked for, or beforehand with what calibration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...profiles.device.grid import Grid
from .decoder import Decoder, Linear, Tensor
from .packed import HalfBytes
from .rounding import round_matrix
from .weights import Floats, Integers, Matrix, TensorSource

TABLE = "embedding"  # what a plan calls the table of a decoder whose head has a weight of its own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundedWeights:
    """The `Weights` of a plan. What has no integers yet is rounded to the nearest when it is asked for, and kept.

    Attributes:
        grids: by name of the linear layer, and of TABLE; what is not in it, or None, stays in floats.
        held: integers by the same names, two of 4 bits in a byte.
    """

    decoder: Decoder
    checkpoint: TensorSource
    grids: Mapping[str, Grid | None]
    held: dict[str, HalfBytes] = field(default_factory=dict)

    def array(self, tensor: Tensor) -> Floats:
        """As `Weights`."""
        return self.checkpoint.array(tensor)

    def matrix(self, linear: Linear) -> Matrix:
        """As `Weights`.

        Raises:
            InputError: a weight is not finite.
        """
        return self._matrix(linear.name, linear.weight)

    def table(self) -> Matrix:
        """As `Weights`.

        Raises:
            InputError: a weight is not finite.
        """
        if self.decoder.tied:
            return self.matrix(self.decoder.head)
        return self._matrix(TABLE, self.decoder.embedding)

    def hold(self, name: str, integers: Integers) -> None:
        """From now on these are the integers of that name."""
        self.held[name] = HalfBytes.of(integers)

    def _matrix(self, name: str, tensor: Tensor) -> Matrix:
        grid = self.grids.get(name)
        if grid is not None and name in self.held:
            return self.held[name].integers()
        weight = self.checkpoint.array(tensor)
        if grid is None:
            return weight
        integers = round_matrix(weight, grid, name=tensor.name)
        self.hold(name, integers)
        return integers


def matrices(decoder: Decoder) -> dict[str, Tensor]:
    """Every matrix that a plan gives a grid, by name: the linear layers, and a table that is not the head's."""
    found = {linear.name: linear.weight for linear in decoder.linears()}
    return found if decoder.tied else {**found, TABLE: decoder.embedding}


def uniform(decoder: Decoder, grid: Grid | None) -> dict[str, Grid | None]:
    """The same grid for every matrix."""
    return dict.fromkeys(matrices(decoder), grid)
