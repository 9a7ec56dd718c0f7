"""A weight that data have decided, in place of the nearest integers of the float one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedWeight:
    """What a layer multiplies by, and adds.

    Attributes:
        of: digest of the float weight, as lifts have made it: they rescale otherwise where other layers are in float,
            and there this one does not belong.
        values: float32 of the weight's shape, each a whole multiple of its scale within the grid.
        scales: of the weight, float32, of a shape that `weight_scales` gives.
        bias: float32 (channels,), in place of the one that the layer has; None leaves that.
    """

    of: str
    values: npt.NDArray[np.float32]
    scales: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None = None


def weight_digest(weight: npt.NDArray[np.float32]) -> str:
    """Of a float weight, in hex."""
    return hashlib.blake2b(np.ascontiguousarray(weight).tobytes(), digest_size=16).hexdigest()
