"""What calibration keeps of each tensor: a small state that merges exactly, whatever the order and the grouping."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..backends.base import Array
from ..errors import InputError
from . import exact, loggrid

NONE = np.empty(0, np.float32)
NO_SQUARES = np.empty((len(exact.EXPONENTS), 0), np.int64)
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Which per-channel state to keep: sums along this axis, and extremes and squares as well where `spread`."""

    axis: int
    spread: bool


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

    @classmethod
    def of(cls, array: npt.NDArray[np.float32], channels: Channels) -> ChannelStatistics:
        """The state of one non-empty array."""
        rows, over = _rows(array, channels.axis)
        total = exact.limbs(_wide(rows.sum(axis=over)).sum(axis=0))
        count = array.size // array.shape[channels.axis]
        if not channels.spread:
            return cls(axis=channels.axis, count=count, total=total, minimum=NONE, maximum=NONE, square=NO_SQUARES)
        squares = np.einsum("ijk,ijk->ij" if over == 2 else "ijk,ijk->ik", rows, rows)
        # Adding 0 makes -0 a 0: which of the two a minimum gives depends on the order.
        return cls(
            axis=channels.axis,
            count=count,
            total=total,
            minimum=rows.min(axis=over).min(axis=0) + np.float32(0),
            maximum=rows.max(axis=over).max(axis=0) + np.float32(0),
            square=exact.limbs(_wide(squares).sum(axis=0)),
        )

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
    histogram: loggrid.Counts
    channels: ChannelStatistics | None = None

    @classmethod
    def of(cls, array: Array, keep: Channels | None = None) -> TensorStatistics:
        """The state of one non-empty array.

        Args:
            array: any real dtype; counted as float32.
            keep: per-channel state to keep.
        """
        floats = np.ascontiguousarray(array, dtype=np.float32)
        channels = None if keep is None else ChannelStatistics.of(floats, keep)
        return cls(
            count=floats.size,
            minimum=float(floats.min()) + 0.0,
            maximum=float(floats.max()) + 0.0,
            histogram=loggrid.count(floats),
            channels=channels,
        )

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


def _rows(array: npt.NDArray[np.float32], axis: int) -> tuple[npt.NDArray[np.float32], int]:
    """The array in three axes and the one to reduce first, so that numpy reduces at full speed; channels are the other.

    (1, positions, C) and 1 where the channels are last, (outer, C, inner) and 2 elsewhere.
    """
    axis %= array.ndim
    if axis == array.ndim - 1:
        return array.reshape(1, -1, array.shape[-1]), 1
    return array.reshape(int(np.prod(array.shape[:axis])), array.shape[axis], -1), 2


def _wide(sums: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Sums in float64; one that left float32's range stays at its end."""
    wide = sums.astype(np.float64)
    return wide if np.isfinite(wide).all() else np.nan_to_num(wide, posinf=FLOAT32_MAX, neginf=-FLOAT32_MAX)


def _merged(one: ChannelStatistics | None, other: ChannelStatistics | None) -> ChannelStatistics | None:
    if one is None and other is None:
        return None
    if one is None or other is None or one.axis != other.axis or one.minimum.shape != other.minimum.shape:
        raise InputError("Statistics with different channels do not merge.")
    return one.merge(other)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """State of every observed tensor of one graph.

    Attributes:
        graph: digest of the graph that was run.
        samples: how many samples went in.
        data: digest of the data, the same in any order of the batches; says whether two sites used the same.
        converged: the ranges had settled before the data ended, and the rest was not read.
    """

    graph: str
    samples: int
    data: str
    tensors: Mapping[str, TensorStatistics]
    converged: bool = False

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
    """Hex BLAKE2b of one batch: names, dtypes, shapes and bytes."""
    total = hashlib.blake2b(digest_size=32)
    for name in sorted(feed):
        array = np.ascontiguousarray(feed[name])
        total.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def add_digests(one: str, other: str) -> str:
    """Sum modulo 2**256: the digest of a set of batches does not depend on their order (AdHash, Bellare 1997)."""
    return f"{(int(one, 16) + int(other, 16)) % (1 << 256):064x}"


NO_DATA = "0" * 64
