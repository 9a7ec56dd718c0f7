"""Distances of each row to each other (`torch.cdist`), where there are few: torch's exporter has no form for them.

Of at most 25 rows on either side torch computes them one by one, and its exporter meets `_cdist_forward` (torch 2.13).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def translations() -> dict[Any, Callable[..., Any]]:
    """For the newer exporter, by torch's operator."""
    import torch

    return {torch.ops.aten._cdist_forward.default: _cdist}


def _cdist(x1: Any, x2: Any, p: float, compute_mode: int | None = None) -> Any:
    """(..., P, M) and (..., R, M) to (..., P, R); leading axes are broadcast, as torch does."""
    from onnxscript import opset18 as op

    last = op.Constant(value_ints=[-1])
    apart = op.Sub(op.Unsqueeze(x1, op.Constant(value_ints=[-2])), op.Unsqueeze(x2, op.Constant(value_ints=[-3])))
    if p == 2:
        return op.ReduceL2(apart, last, keepdims=0)
    if p == 1:
        return op.ReduceL1(apart, last, keepdims=0)
    if math.isinf(p):
        return op.ReduceMax(op.Abs(apart), last, keepdims=0)
    if p == 0:
        different = op.Not(op.Equal(apart, op.CastLike(op.Constant(value_float=0.0), apart)))
        return op.ReduceSum(op.CastLike(different, apart), last, keepdims=0)
    power, root = (op.CastLike(op.Constant(value_float=value), apart) for value in (p, 1 / p))
    return op.Pow(op.ReduceSum(op.Pow(op.Abs(apart), power), last, keepdims=0), root)
