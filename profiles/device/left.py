"""What stays float on a runtime whatever else its scheme says, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from pydantic import ConfigDict

from .texts import Prose

# None for a size that is free.
KnownSizes: TypeAlias = tuple[int | None, ...]
_VOLUME = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Operators that stay float: all of them, or convolutions of one form only.

    Attributes:
        operators: ONNX operator types.
        reason: why, for the report.
        channels_below: only kernels with fewer input channels a group.
        wrong: in integers the runtime computes it wrongly, at least on some processors; else in float or not at all.
        row: only kernels of which a row, the input channels of a group times the taps along one axis, is a multiple of
            this and longer.
        one_plane: only kernels of several planes over a volume that has one.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    operators: tuple[str, ...]
    reason: Prose
    channels_below: int | None = None
    row: int | None = None
    one_plane: bool = False
    wrong: bool = False

    def takes(self, operator: str, kernel: tuple[int, ...], data: KnownSizes = ()) -> bool:
        """Whether a node is one of them.

        Args:
            kernel: shape of its weight, (outputs, inputs of a group, taps ...) for a convolution.
            data: sizes of what it reads, as far as they are known, None for one that is not; empty for none.
        """
        if operator not in self.operators:
            return False
        channels, taps = (kernel[1], kernel[2:]) if len(kernel) > 1 else (0, ())
        if self.one_plane and not (len(taps) == _VOLUME and taps[0] > 1 and data[2:3] == (1,)):
            return False
        if self.channels_below is not None and channels >= self.channels_below:
            return False
        return self.row is None or any(channels * n > self.row and channels * n % self.row == 0 for n in taps)
