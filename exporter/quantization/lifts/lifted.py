"""What an accuracy lift did to a graph before it is quantized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """What a lift changed.

    Attributes:
        note: what was done, one clause; empty where there was nothing to do.
        ranges: range (low, high) of each value that the lift made or changed, by name.
        factors: by what the lift divided each channel of a value, by name, shape (C,).
        biases: the bias before, None where there was none, of each node whose new one makes up for a rounded weight.
    """

    note: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    factors: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    biases: Mapping[str, npt.NDArray[np.float32] | None] = field(default_factory=dict)
