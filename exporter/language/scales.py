"""Scales in one byte each, and one factor a row.

In blocks of 32 a float32 scale takes a fifth of all that 4 bits take. One of 8 bits takes a quarter of it, and what it
says less exactly does not matter where codes are chosen for it: the step of a block is off by 1/254 of the row's
largest at most. A factor has 16 bits that count, so that its product with 8 bits is exact in float32, and a scale is
found again as its two parts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from .weights import Floats

LARGEST = 127  # of the integers that scales are multiples by
_COUNTING = 1 << 16  # a factor's mantissa is a multiple of 1 in so many


def short(scales: torch.Tensor, used: torch.Tensor, *, up: bool) -> torch.Tensor:
    """The scales as multiples of one factor a row, by -127 to 127 without 0.

    Args:
        scales: of shape (rows, blocks); may be negative.
        used: of the same shape, bool: blocks that are not all zeros. Others get the row's largest scale.
        up: none becomes smaller, so that a block that a scale just held is held.
    """
    sizes = scales.abs() * used
    factors = _factors(sizes.amax(-1, keepdim=True))
    steps = sizes / factors
    steps = (steps.ceil_() if up else steps.round_()).clamp_(1, LARGEST).masked_fill_(~used, LARGEST)
    return torch.copysign(steps * factors, scales)


def split(scales: Floats) -> tuple[npt.NDArray[np.int8], Floats] | None:
    """The integers of `short` scales and their factors, of shapes (rows, blocks) and (rows, 1).

    Returns:
        None where the scales are others.
    """
    factors = _factors(torch.from_numpy(np.abs(scales).max(-1, keepdims=True))).numpy()
    steps = np.round(scales / factors)
    if not np.array_equal(steps * factors, scales):
        return None
    return steps.astype(np.int8), factors


def _factors(largest: torch.Tensor) -> torch.Tensor:
    """The next of 16 bits that is not less than the largest over 127; 1 of a row of zeros."""
    mantissa, exponent = torch.frexp(largest / LARGEST)
    found = torch.ldexp((mantissa * _COUNTING).ceil_() / _COUNTING, exponent)
    return found.where(found > 0, torch.ones_like(found))
