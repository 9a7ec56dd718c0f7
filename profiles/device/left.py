"""What stays float on a runtime whatever else its scheme says, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from .texts import Prose


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
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    operators: tuple[str, ...]
    reason: Prose
    channels_below: int | None = None
    row: int | None = None
    wrong: bool = False

    def takes(self, operator: str, kernel: tuple[int, ...]) -> bool:
        """Whether a node is one of them.

        Args:
            kernel: shape of its weight, (outputs, inputs of a group, taps ...) for a convolution.
        """
        if operator not in self.operators:
            return False
        channels, taps = (kernel[1], kernel[2:]) if len(kernel) > 1 else (0, ())
        if self.channels_below is not None and channels >= self.channels_below:
            return False
        return self.row is None or any(channels * n > self.row and channels * n % self.row == 0 for n in taps)
