"""Operators for which torch's tracing exporter has no form, or a wrong one, by operators for which it has (torch 2.13).

It writes what it sees called, also where torch itself computes that by plainer operators. While a model is traced these
are called in their place; sizes come of the traced value, so that free axes stay free.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# Hyperbolic functions, which ONNX has: by the operator's name in both.
_HYPERBOLIC = {"sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh"}
_DEGREES = 180 / math.pi


def spelled_out() -> contextlib.AbstractContextManager[Any]:
    """Inside, functions and methods of torch that the tracing exporter lacks are computed by others."""
    from torch.overrides import TorchFunctionMode

    class SpelledOut(TorchFunctionMode):
        def __torch_function__(
            self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
        ) -> Any:
            options = dict(kwargs or {})
            form = _forms().get(func)
            if form is None:
                return func(*args, **options)
            first = [options.pop("input")] if "input" in options else []
            return form(*first, *args, **options)

    return SpelledOut()


def symbolics() -> dict[str, Callable[..., Any]]:
    """For the tracing exporter, by the operator's name: what ONNX has under another."""
    return {f"aten::{name}": _named(operator) for name, operator in _HYPERBOLIC.items()}


def _named(operator: str) -> Callable[..., Any]:
    return lambda g, x: g.op(operator, x)


@cache
def _forms() -> dict[Any, Callable[..., Any]]:
    """By torch's function, or a method of a tensor."""
    import torch
    from torch import Tensor
    from torch.nn import functional

    # A property is asked for by its getter, with the class behind the tensor.
    found: dict[Any, Callable[..., Any]] = {
        getattr(Tensor, name).__get__: lambda x, *_: _turned(x) for name in ("mT", "mH")
    }
    for name, form in _BY_NAME.items():
        found |= {getattr(at, name): form for at in (torch, Tensor, functional) if hasattr(at, name)}
    del found[functional.unfold]  # of pictures: another operator, which it has
    return found


def _turned(x: Tensor) -> Tensor:
    return x.transpose(-2, -1)


def _channel_shuffle(x: Tensor, groups: int) -> Tensor:
    apart = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return apart.transpose(1, 2).reshape(x.shape)


def _rms_norm(x: Tensor, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    import torch

    least = torch.finfo(x.dtype).eps if eps is None else eps
    normal = x * torch.rsqrt(x.pow(2).mean(tuple(range(-len(normalized_shape), 0)), keepdim=True) + least)
    return normal if weight is None else normal * weight


def _threshold(x: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    import torch

    return torch.where(x > threshold, x, value)


def _searchsorted(bounds: Tensor, values: Any, **options: Any) -> Tensor:
    """Of one list of bounds; of a list for each row torch's own is asked, which has no form."""
    import torch

    if bounds.dim() != 1 or options.keys() - {"right", "out_int32"}:
        return torch.searchsorted(bounds, values, **options)
    return torch.bucketize(values, bounds, **options)


def _movedim(x: Tensor, source: Any, destination: Any) -> Tensor:
    """By a permutation; torch writes axes that are counted from the end into the graph as they are."""
    sources, places = (
        [axis % x.dim() for axis in ((axes,) if isinstance(axes, int) else axes)] for axes in (source, destination)
    )
    left = iter([axis for axis in range(x.dim()) if axis not in sources])
    moved = dict(zip(places, sources, strict=True))
    return x.permute([moved[axis] if axis in moved else next(left) for axis in range(x.dim())])


def _unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """By the places of each window, of which torch would have to know the number."""
    import torch

    axis = dimension % x.dim()
    first = torch.arange(0, x.shape[axis] - size + 1, step)
    places = first[:, None] + torch.arange(size)
    return _movedim(_movedim(x, axis, -1)[..., places], -2, axis)


def _trunc(x: Tensor) -> Tensor:
    return x.sign() * x.abs().floor()


def _floor_divide(x: Any, other: Any) -> Tensor:
    """Down, where the exporter writes floats towards zero; whole numbers are sizes."""
    import torch

    floats = any(isinstance(one, float) or getattr(one, "is_floating_point", bool)() for one in (x, other))
    return (x / other).floor() if floats else torch.floor_divide(x, other)


def _expm1(x: Tensor) -> Tensor:
    """exp(x) - 1 = tanh(x / 2) (exp(x) + 1), which keeps its digits next to zero."""
    return (x / 2).tanh() * (x.exp() + 1)


def _diff(x: Tensor, n: int = 1, dim: int = -1) -> Tensor:
    for _ in range(n):
        size = x.shape[dim]
        x = x.narrow(dim, 1, size - 1) - x.narrow(dim, 0, size - 1)
    return x


def _logaddexp(x: Tensor, other: Tensor) -> Tensor:
    import torch

    # Of two that are equal, infinities among them, the difference is none and may not be taken.
    apart = torch.where(x == other, torch.zeros_like(x), x - other)
    return torch.maximum(x, other) + torch.log1p(torch.exp(-apart.abs()))


def _sinc(x: Tensor) -> Tensor:
    import torch

    angle = torch.where(x == 0, torch.ones_like(x), x) * math.pi
    return torch.where(x == 0, torch.ones_like(x), angle.sin() / angle)


def _count_nonzero(x: Tensor, dim: Any = None) -> Tensor:
    counted = (x != 0).long()
    return counted.sum() if dim is None else counted.sum(dim)


# Where torch has them as a function, a method, or a function of layers.
_BY_NAME: dict[str, Callable[..., Any]] = {
    "channel_shuffle": _channel_shuffle,
    "rms_norm": _rms_norm,
    "threshold": _threshold,
    "searchsorted": _searchsorted,
    "movedim": _movedim,
    "moveaxis": _movedim,
    "adjoint": _turned,
    "unfold": _unfold,
    "trunc": _trunc,
    "fix": _trunc,
    "frac": lambda x: x - _trunc(x),
    "floor_divide": _floor_divide,
    "__floordiv__": _floor_divide,
    "exp2": lambda x: (x * math.log(2)).exp(),
    "expm1": _expm1,
    "diff": _diff,
    "hypot": lambda x, other: (x * x + other * other).sqrt(),
    "logaddexp": _logaddexp,
    "sgn": lambda x: x.sign(),
    "sinc": _sinc,
    "positive": lambda x: x,
    "fliplr": lambda x: x.flip(1),
    "flipud": lambda x: x.flip(0),
    "ravel": lambda x: x.reshape(-1),
    "count_nonzero": _count_nonzero,
    "rad2deg": lambda x: x * _DEGREES,
    "deg2rad": lambda x: x / _DEGREES,
}
