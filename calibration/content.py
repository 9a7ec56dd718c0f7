"""A digest of what statistics hold, the same for those that `storage` reads back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from .statistics import Statistics, TensorStatistics


def content_digest(statistics: Statistics) -> str:
    """Sha256 in hex of everything that ranges are made from."""
    total = hashlib.sha256(f"{statistics.graph} {statistics.samples} {statistics.data}\n".encode())
    for name, state in sorted(statistics.tensors.items()):
        total.update(f"{name!r} {state.count}\n".encode())
        for part in _parts(state):
            total.update(part)
    return total.hexdigest()


def _parts(state: TensorStatistics) -> Iterator[bytes]:
    arrays = [np.asarray([state.minimum, state.maximum]), state.histogram]
    if (channels := state.channels) is not None:
        yield f"{channels.axis} {channels.count}\n".encode()
        arrays += [channels.minimum, channels.maximum, channels.total, channels.square]
    for array in arrays:
        yield f"{array.dtype.str} {array.shape}\n".encode()
        yield np.ascontiguousarray(array).tobytes()
