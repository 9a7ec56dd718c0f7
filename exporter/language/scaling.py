"""Factors of channels that move what a matrix finds hard to round into the norm before it.

A norm's weight divided by s and the columns of the matrices behind it multiplied by s compute the same, and a column
that meets large values is rounded the finer for it (AWQ; Lin et al., 2023). s is a power of the root mean square of the
inputs, the power the one that loses least of what the matrices give.
"""

from __future__ import annotations

import numpy as np
import torch

from ...profiles.device.grid import Grid
from .decoder import Decoder, Norm
from .rounding import TINY, round_matrix
from .weights import Floats

POWERS = (0.25, 0.5, 0.75)


def foldable(decoder: Decoder) -> dict[str, Norm]:
    """The norm that linear layers read and nothing else does, by what they call it, where it has a weight."""
    found: dict[str, Norm | None] = {}
    for layer in decoder.layers:
        found[layer.attention.query.reads] = layer.before_attention
        found.setdefault(layer.feed_forward.up.reads, layer.before_feed_forward)
    if not decoder.tied:  # a tied head is a table as well, whose columns stay
        found[decoder.head.reads] = decoder.norm
    return {name: norm for name, norm in found.items() if norm is not None and norm.weight is not None}


def factors_of(weight: Floats, hessian: torch.Tensor, grid: Grid) -> Floats | None:
    """The factors of the inputs that lose least when the matrix is rounded to the nearest; None where none pay.

    Args:
        weight: of shape (outputs, inputs).
        hessian: X^T X of the inputs.

    Returns:
        Of shape (inputs,), 1 in the geometric mean.
    """
    squares = hessian.diagonal().numpy()
    if not squares.max() > TINY:
        return None
    typical = np.sqrt(squares + 1e-4 * squares.mean())
    best, least = None, _lost(weight, np.ones_like(typical), hessian, grid)
    for power in POWERS:
        factors = np.asarray(typical**power, dtype=np.float32)
        factors /= np.exp(np.log(factors).mean())
        if (lost := _lost(weight, factors, hessian, grid)) < least:
            best, least = factors, lost
    return best


def _lost(weight: Floats, factors: Floats, hessian: torch.Tensor, grid: Grid) -> float:
    importance = hessian.diagonal().numpy() / np.square(factors)
    rounded = round_matrix(weight * factors, grid, importance=importance).floats() / factors
    error = torch.from_numpy(rounded - weight)
    return float((error @ hessian).mul_(error).sum())
