"""What calibration keeps of each tensor: a small state that merges exactly, whatever the order and the grouping."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..backends.base import Array, Feed
from ..errors import InputError
from . import exact
from .kernels import Counts, Seen, observe

T = TypeVar("T")
NONE = np.empty(0, np.float32)
NO_SQUARES = np.empty((len(exact.EXPONENTS), 0), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Which per-channel state to keep: sums along this axis, and where `spread` extremes and (unless not) squares."""

    axis: int
    spread: bool
    squares: bool = True

    def covers(self, other: Channels) -> bool:
        """Whether what this keeps has all that the other one keeps."""
        mine, asked = self._extent(), other._extent()
        return self.axis == other.axis and all(m or not a for m, a in zip(mine, asked, strict=True))

    def joined(self, other: Channels) -> Channels:
        """What keeps both, where they are of one axis; else this."""
        if self.axis != other.axis:
            return self
        (spread, squares), (more, most) = self._extent(), other._extent()
        return Channels(axis=self.axis, spread=spread or more, squares=squares or most)

    def _extent(self) -> tuple[bool, bool]:
        return self.spread, self.spread and self.squares


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelStatistics:
    """Per-channel state of one tensor.

    Attributes:
        axis: the channel axis.
        count: elements in each channel.
        total: exact sum in limbs, int64 of shape (15, C).
        minimum, maximum: float32 of shape (C,); of shape (0,) where the spread was not asked for.
        square: exact sum of x^2 in limbs, int64 of shape (15, C), or (15, 0).
    """

    axis: int
    count: int
    total: exact.Limbs
    minimum: npt.NDArray[np.float32]
    maximum: npt.NDArray[np.float32]
    square: exact.Limbs

    @property
    def kept(self) -> Channels:
        """What this state was asked to keep."""
        return Channels(axis=self.axis, spread=bool(self.minimum.size), squares=bool(self.square.size))

    def merge(self, other: ChannelStatistics) -> ChannelStatistics:
        """The state of both data sets together."""
        return ChannelStatistics(
            axis=self.axis,
            count=self.count + other.count,
            minimum=np.minimum(self.minimum, other.minimum),
            maximum=np.maximum(self.maximum, other.maximum),
            total=self.total + other.total,
            square=self.square + other.square,
        )

    def divided(self, factors: npt.NDArray[np.float64]) -> ChannelStatistics:
        """The state of x / factors, one positive factor a channel; the sums are rounded to float32."""
        narrow = factors.astype(np.float32)
        return ChannelStatistics(
            axis=self.axis,
            count=self.count,
            total=exact.limbs((exact.value(self.total) / factors).astype(np.float32)[None]),
            minimum=self.minimum / narrow if self.minimum.size else NONE,
            maximum=self.maximum / narrow if self.maximum.size else NONE,
            square=exact.limbs((exact.value(self.square) / factors**2).astype(np.float32)[None])
            if self.square.size
            else NO_SQUARES,
        )

    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of each channel, shape (C,)."""
        return exact.value(self.total) / self.count

    def mean_square(self) -> npt.NDArray[np.float64]:
        """Mean of x^2 of each channel, shape (C,)."""
        return exact.value(self.square) / self.count

    def largest(self) -> npt.NDArray[np.float64]:
        """Largest |x| of each channel, shape (C,)."""
        return np.maximum(-self.minimum.astype(np.float64), self.maximum.astype(np.float64))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TensorStatistics:
    """State of one tensor: element count, extremes, histogram on the log grid, and per channel where asked for."""

    count: int
    minimum: float
    maximum: float
    histogram: Counts
    channels: ChannelStatistics | None = None

    @property
    def largest(self) -> float:
        """The largest magnitude."""
        return max(-self.minimum, self.maximum, 0.0)

    @classmethod
    def of(cls, array: Array, keep: Channels | None = None) -> TensorStatistics:
        """The state of one non-empty array.

        Args:
            array: any real dtype; counted as float32.
            keep: per-channel state to keep.
        """
        tally = Tally(keep)
        tally.add(array)
        return tally.state()

    def merge(self, other: TensorStatistics) -> TensorStatistics:
        """The state of both data sets together; exact, commutative and associative.

        Raises:
            InputError: only one has per-channel state, or their channels differ.
        """
        return TensorStatistics(
            count=self.count + other.count,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            histogram=self.histogram + other.histogram,
            channels=_merged(self.channels, other.channels),
        )


class Tally:
    """Takes in array after array of one tensor, in place; gives the state that their states merge to."""

    def __init__(self, keep: Channels | None = None) -> None:
        """Prepare.

        Args:
            keep: per-channel state to keep.
        """
        self._keep, self._count = keep, 0
        self._seen: Seen | None = None

    def add(self, array: Array) -> bool:
        """Take in one non-empty array, of any real dtype, counted as float32; whether all so far was finite."""
        floats = np.ascontiguousarray(array, dtype=np.float32)
        values = floats.reshape(1, 1, 1, -1) if self._keep is None else _by_channel(floats, self._keep.axis)
        if self._seen is None:
            self._seen = self._nothing(values.shape[2])
        observe(values, self._seen)
        self._count += floats.size
        return self._seen.finite()

    def state(self) -> TensorStatistics:
        """The state so far; what is added later does not change it."""
        assert self._seen is not None
        # Adding 0 makes a copy, and -0 a 0: which of the two a minimum gives depends on the order.
        low, high = self._seen.minimum + np.float32(0), self._seen.maximum + np.float32(0)
        return TensorStatistics(
            count=self._count,
            minimum=float(low.min()),
            maximum=float(high.max()),
            histogram=self._seen.counts.copy(),
            channels=None
            if self._keep is None
            else ChannelStatistics(
                axis=self._keep.axis,
                count=self._count // len(low),
                total=self._seen.total.copy(),
                square=self._seen.square.copy(),
                minimum=low if self._keep.spread else NONE,
                maximum=high if self._keep.spread else NONE,
            ),
        )

    def _nothing(self, channels: int) -> Seen:
        squares = self._keep is not None and self._keep.spread and self._keep.squares
        return Seen.nothing(channels, sums=self._keep is not None, squares=squares, spread=True)


def narrowed(state: TensorStatistics, keep: Channels | None) -> TensorStatistics:
    """The state without what `keep` does not ask for: what a tally of that alone would have given.

    Args:
        keep: covered by what the state was made with.
    """
    found = state.channels
    if keep is None or found is None:
        return replace(state, channels=None)
    spread, squares = keep.spread, keep.spread and keep.squares
    kept = replace(
        found,
        minimum=found.minimum if spread else NONE,
        maximum=found.maximum if spread else NONE,
        square=found.square if squares else NO_SQUARES,
    )
    return replace(state, channels=kept)


def _by_channel(array: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """The array as (O, M, C, I), C the channels; what is summed in float32, M and I, lies within one sample.

    So the sums do not depend on how the samples were batched.
    """
    axis %= array.ndim
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    outer = before[0] if before else 1
    return array.reshape(outer, math.prod(before[1:]), array.shape[axis], math.prod(after))


def _merged(one: ChannelStatistics | None, other: ChannelStatistics | None) -> ChannelStatistics | None:
    if one is None and other is None:
        return None
    if one is None or other is None or one.axis != other.axis or one.minimum.shape != other.minimum.shape:
        raise InputError("Statistics with different channels do not merge.")
    return one.merge(other)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """A few of the data that int8 is not judged on, for who runs the graph; by default none are at hand.

    Attributes:
        read: gives them, which may raise InputError.
    """

    read: Callable[[], tuple[Feed, ...]] = tuple
    _found: dict[Hashable, Any] = field(default_factory=dict)

    def __call__(self) -> tuple[Feed, ...]:
        """The samples."""
        return self.read()

    def once(self, key: Hashable, find: Callable[[tuple[Feed, ...]], T]) -> T:
        """What is found of them, at the first call with this key."""
        if key not in self._found:
            self._found[key] = find(self.read())
        found: T = self._found[key]
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """State of every observed tensor of one graph.

    Attributes:
        graph: digest of the graph that was run.
        samples: how many samples went in.
        data: digest of the data, the same in any order and batching; says whether two sites used the same.
        converged: the ranges had settled before the data ended, and the rest was not read.
        examples: a few samples, which stay in this process: they are neither stored nor merged.
    """

    graph: str
    samples: int
    data: str
    tensors: Mapping[str, TensorStatistics]
    converged: bool = False
    examples: Examples = field(default_factory=Examples)

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both data sets: `a.merge(b)` equals `b.merge(a)`, bit for bit.

        Raises:
            InputError: they are of different graphs or observe different tensors.
        """
        if self.graph != other.graph:
            raise InputError(
                f"Statistics of different models ({self.graph[:12]} and {other.graph[:12]}) do not merge.",
                hint="Calibrate the same model, exported by the same versions, at every site.",
            )
        if self.tensors.keys() != other.tensors.keys():
            raise InputError("Statistics of different tensors (for other targets) do not merge.")
        return Statistics(
            graph=self.graph,
            samples=self.samples + other.samples,
            data=add_digests(self.data, other.data),
            tensors={name: state.merge(other.tensors[name]) for name, state in self.tensors.items()},
            converged=self.converged or other.converged,
        )


def digest(feed: Mapping[str, Array]) -> str:
    """Hex digest of the samples of a batch, the same however they are batched.

    The sum of each sample's BLAKE2b of names, dtypes, shapes and bytes; of the batch as one where it has no samples.
    """
    arrays = {name: np.ascontiguousarray(feed[name]) for name in sorted(feed)}
    lengths = {len(array) if array.ndim else -1 for array in arrays.values()}
    if len(lengths) > 1 or -1 in lengths:
        return _digest(arrays)
    total = NO_DATA
    for sample in range(lengths.pop()):
        total = add_digests(total, _digest({name: array[sample] for name, array in arrays.items()}))
    return total


def _digest(arrays: Mapping[str, Array]) -> str:
    total = hashlib.blake2b(digest_size=32)
    for name, array in arrays.items():
        total.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def add_digests(one: str, other: str) -> str:
    """Sum modulo 2**256: the digest of a set of samples does not depend on their order (AdHash, Bellare 1997)."""
    return f"{(int(one, 16) + int(other, 16)) % (1 << 256):064x}"


NO_DATA = "0" * 64
