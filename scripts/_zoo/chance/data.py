"""Random data of several kinds: what a network takes, and values of its own kind in every sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..model import Feed
from .state import Draw

_Array: TypeAlias = np.ndarray[Any, Any]
# Gives values of a shape, the first axis of which is that of samples.
_Values: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], _Array]
_VOCABULARY = 40


def _smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> _Array:
    """Noise that its neighbours along the last axis share, and something that a sample has everywhere."""
    noise: _Array = rng.standard_normal(shape)
    noise[..., 1:] = 0.6 * noise[..., 1:] + 0.8 * noise[..., :-1]
    return np.asarray(noise + 0.7 * rng.standard_normal((*shape[:2], *[1] * (len(shape) - 2))))


def _bytes(rng: np.random.Generator, shape: tuple[int, ...]) -> _Array:
    return np.asarray(np.round(np.clip(128 + 60 * _smooth(rng, shape), 0, 255)))


def _sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> _Array:
    return np.where(rng.random(shape) < 0.15, _smooth(rng, shape) + 1, 0)


def _heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> _Array:
    return np.clip(rng.standard_t(4, shape), -12, 12)


def _positive(rng: np.random.Generator, shape: tuple[int, ...]) -> _Array:
    return np.log1p(np.exp(_smooth(rng, shape)))


VALUES: dict[str, _Values] = {
    "normal": lambda rng, shape: rng.standard_normal(shape), "smooth": _smooth, "bytes": _bytes, "sparse": _sparse,
    "heavy": _heavy, "positive": _positive, "uniform": lambda rng, shape: rng.random(shape),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """The first input of a network.

    Attributes:
        kind: axes, as of a `State`; `nt` for token numbers.
        shape: of one sample.
        free: axes, those of a sample counted from 1, whose sizes are free: multiples of 8 then.
        values: a name of `VALUES`.
        constant: a channel that is the same everywhere; -1 for none.
        scales: of the channels of a table.
    """

    kind: str
    shape: tuple[int, ...]
    free: tuple[int, ...]
    values: str
    constant: int
    scales: tuple[float, ...]

    def sized(self, more: int) -> tuple[int, ...]:
        """The shape of a sample with so many times 8 more along free axes."""
        return tuple(size + 8 * more if axis in self.free else size for axis, size in enumerate(self.shape, 1))

    def feed(self, rng: np.random.Generator, samples: int, more: int = 0) -> Feed:
        """Samples of one size."""
        shape = (samples, *self.sized(more))
        if self.kind == "nt":
            return {"x": rng.integers(0, _VOCABULARY, shape)}
        values = VALUES[self.values](rng, shape)
        axis = self.kind.index("c")
        if self.constant >= 0:
            values[(slice(None),) * axis + (self.constant,)] = 0.7
        if self.scales:
            values = values * np.reshape(self.scales, [-1 if a == axis else 1 for a in range(len(shape))])
        return {"x": values.astype(np.float32)}


_SHAPES: dict[str, Sequence[tuple[int, ...]]] = {
    "nc": ((6,), (12,), (20,)),
    "nct": ((1, 64), (4, 32), (8, 24)),
    "nchw": ((3, 16, 16), (3, 24, 16), (1, 16, 24), (4, 16, 16)),
    "ncdhw": ((1, 8, 8, 8), (3, 4, 8, 8)),
    "ntc": ((8, 12), (16, 8), (16, 3)),
    "nt": ((12,), (16,)),
}
_OFTEN = ("nc", "nct", "nct", "nchw", "nchw", "nchw", "ncdhw", "ntc", "ntc", "nt")


def drawn_input(draw: Draw) -> Input:
    """What a network takes."""
    kind = draw.pick(_OFTEN)
    shape = draw.pick(_SHAPES[kind])
    channels = shape[kind.index("c") - 1] if "c" in kind else 0
    places = tuple(axis for axis, letter in enumerate(kind) if letter not in "nc")
    free = places if draw.maybe(0.3) else places[-1:] if draw.maybe(0.15) and kind != "ntc" else ()
    scales = tuple(float(s) for s in 10.0 ** draw.rng.uniform(-0.5, 0.5, channels)) if draw.maybe(0.3) else ()
    return Input(
        kind=kind, shape=shape, free=free, values=draw.pick(tuple(VALUES)), scales=scales,
        constant=draw.whole(0, channels - 1) if channels > 2 and draw.maybe(0.15) else -1,
    )  # fmt: skip
