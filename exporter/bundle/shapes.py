"""The shapes that outputs have: a file may declare others, of which runtimes only warn. Nothing here needs onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...backends.base import Array, TensorSpec


def as_seen(specs: Sequence[TensorSpec], answers: Sequence[Mapping[str, Array]]) -> tuple[TensorSpec, ...]:
    """The specs with each axis free whose size is not the declared one in every answer.

    Args:
        answers: with an array of each name. Where their number of axes is another one, the sizes are theirs alone.
    """
    return tuple(replace(spec, shape=_shape(spec, [one[spec.name].shape for one in answers])) for spec in specs)


def _shape(spec: TensorSpec, seen: Sequence[tuple[int, ...]]) -> tuple[int | str, ...]:
    ranks = {len(shape) for shape in seen}
    if len(ranks) != 1:
        return spec.shape  # no spec has several
    declared: tuple[int | str, ...] = spec.shape if ranks == {len(spec.shape)} else seen[0]
    axes = enumerate(zip(declared, *seen, strict=True))
    return tuple(_size(size, found, f"{spec.name}_axis{axis}") for axis, (size, *found) in axes)


def _size(declared: int | str, found: Sequence[int | str], free: str) -> int | str:
    return declared if isinstance(declared, str) or set(found) == {declared} else free
