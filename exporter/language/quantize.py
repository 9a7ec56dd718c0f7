"""A decoder's weights on grids: rounded as they are asked for, or beforehand with what calibration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...profiles.device.grid import Grid
from .decoder import Decoder, Linear, Norm, Tensor
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
        factors: of the columns of linear layers, by what they read; the norm there is divided by them.
        instead: weights and biases of such norms, by their tensors.
    """

    decoder: Decoder
    checkpoint: TensorSource
    grids: Mapping[str, Grid | None]
    held: dict[str, HalfBytes] = field(default_factory=dict)
    factors: dict[str, Floats] = field(default_factory=dict)
    instead: dict[Tensor, Floats] = field(default_factory=dict)

    def array(self, tensor: Tensor) -> Floats:
        """As `Weights`."""
        return self.instead[tensor].copy() if tensor in self.instead else self.checkpoint.array(tensor)

    def matrix(self, linear: Linear) -> Matrix:
        """As `Weights`.

        Raises:
            InputError: a weight is not finite.
        """
        return self._matrix(linear.name, linear.weight, self.factors.get(linear.reads))

    def table(self) -> Matrix:
        """As `Weights`.

        Raises:
            InputError: a weight is not finite.
        """
        if self.decoder.tied:
            return self.matrix(self.decoder.head)
        return self._matrix(TABLE, self.decoder.embedding)

    def scale(self, reads: str, norm: Norm, factors: Floats) -> None:
        """Fold factors of what linear layers read into the norm that gives it; integers held of them have them already.

        Args:
            factors: of shape (inputs,).
        """
        self.factors[reads] = factors
        for tensor in (norm.weight, norm.bias):
            if tensor is not None:
                self.instead[tensor] = self.checkpoint.array(tensor) / factors

    def hold(self, name: str, integers: Integers) -> None:
        """From now on these are the integers of that name."""
        self.held[name] = HalfBytes.of(integers)

    def _matrix(self, name: str, tensor: Tensor, factors: Floats | None = None) -> Matrix:
        grid = self.grids.get(name)
        if grid is not None and name in self.held:
            return self.held[name].integers()
        weight = self.checkpoint.array(tensor)
        if factors is not None:
            weight *= factors
        if grid is None:
            return weight
        self.hold(name, round_matrix(weight, grid, name=tensor.name))
        return self.held[name].integers()


def matrices(decoder: Decoder) -> dict[str, Tensor]:
    """Every matrix that a plan gives a grid, by name: the linear layers, and a table that is not the head's."""
    found = {linear.name: linear.weight for linear in decoder.linears()}
    return found if decoder.tied else {**found, TABLE: decoder.embedding}


def uniform(decoder: Decoder, grid: Grid | None) -> dict[str, Grid | None]:
    """The same grid for every matrix."""
    return dict.fromkeys(matrices(decoder), grid)
