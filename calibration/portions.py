"""Cut a user's batches into portions whose observed tensors stay small, whatever batch size the data come in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ..backends.base import Feed, SampleAxes, TensorSpec

# Bytes of observed tensors a run; several runs are in memory at once. Less saves little, as the sessions stay, and
# costs the fixed time of one more run a batch.
LIMIT = 3 << 20
# Bytes of values that are fetched at a time where they are not counted at once: memory does not grow with the depth.
HELD = 128 << 20
Shape = Sequence[int | str | None]


class Portions:
    """Cuts feeds between samples; where depends on shapes alone, so that every shard cuts alike."""

    def __init__(
        self, inputs: Sequence[TensorSpec], samples: SampleAxes, observed: Sequence[Shape], limit: int = LIMIT
    ) -> None:
        """Prepare.

        Args:
            inputs: of the graph.
            samples: where they lie.
            observed: shapes of the observed tensors, free axes by name, None where a size is not known.
            limit: bytes of observed tensors that a portion may have, taken as float32.
        """
        self._divides = samples.divide(inputs)
        self._inputs, self._samples, self._observed, self._limit = inputs, samples, observed, limit

    def of(self, feed: Feed) -> Iterator[Feed]:
        """The feed in portions of whole samples, at least one each; whole where it cannot be cut."""
        samples = self._samples.count(feed)
        observed = sum(bytes_of(self._inputs, self._observed, feed))
        runs = math.ceil(observed / self._limit) if self._divides else 1
        if runs < 2 or samples < 2:
            yield feed
            return
        step = math.ceil(samples / runs)  # all of a size: a small rest would cost as much as a full run
        for start in range(0, samples, step):
            yield self._samples.part(feed, slice(start, start + step))


def bytes_of(inputs: Sequence[TensorSpec], shapes: Sequence[Shape], feed: Feed) -> list[int]:
    """Bytes of each float32 tensor of these shapes that a feed gives; a size that is not known counts as 1."""
    sizes: Mapping[str, int] = {
        axis: size
        for spec in inputs
        for axis, size in zip(spec.shape, feed[spec.name].shape, strict=True)
        if isinstance(axis, str)
    }
    return [
        4 * math.prod(size if isinstance(size, int) else sizes.get(size or "", 1) for size in shape) for shape in shapes
    ]


def grouped(sizes: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    """The names in order, in groups whose sizes add up to no more than the limit, or of one."""
    group: list[str] = []
    held = 0
    for name, size in sizes.items():
        if group and held + size > limit:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    if group:
        yield group
