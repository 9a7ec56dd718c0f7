"""Which axes of a graph may be that of its samples, and what its shapes say of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ..backends.base import SampleAxes, TensorSpec

# What people call it; such an axis is taken for theirs wherever it stands.
_CALLED = "batch"
# Axes of a recording of several voices or signals, with steps of time first.
_IN_TIME = 3
# What a free axis counts for where inputs are compared.
_ANY = 8


def possible(inputs: Sequence[TensorSpec]) -> Iterator[Mapping[str, int]]:
    """Axes of inputs that may be those of samples, the likelier ones first, by input.

    What is called a batch; what stands first in one of the inputs that have free axes, and is found in all of them;
    the first axis of these, where it is free and each calls it otherwise; what stands second; and of an input whose
    first axis is fixed that, or of three the second. The largest input has one: a picture beside a list of boxes is one
    sample.
    """
    if called := _called(inputs):
        yield called
    for axes in (*_free(inputs), *_fixed(inputs)):
        if max(inputs, key=_values).name in axes:
            yield axes


def declared(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> SampleAxes:
    """What the shapes say: the first of those that an output has, or may have."""
    for axes in possible(inputs):
        if found := kept(axes, inputs, outputs):
            return SampleAxes(inputs=axes, outputs=found)
    return SampleAxes()


def kept(axes: Mapping[str, int], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, int]:
    """Along which axis outputs have the samples of these inputs, by what their sizes are called.

    A first axis with a name of its own may hold them, as names are lost on the way through a graph, or something else
    of each, as boxes. Of one answer to all rows there is nothing.
    """
    sizes = {spec.shape[axes[spec.name]] for spec in inputs if spec.name in axes}
    known = {size for spec in inputs for size in spec.shape}
    found: dict[str, int] = {}
    for spec in outputs:
        named = [axis for axis, size in enumerate(spec.shape) if size in sizes and (axis == 0 or isinstance(size, str))]
        own = spec.shape[:1] and isinstance(spec.shape[0], str) and spec.shape[0] not in known
        if named or own:
            found[spec.name] = named[0] if named else 0
    return found


def called_batch(size: int | str) -> bool:
    """Whether people call an axis that of samples."""
    return isinstance(size, str) and _CALLED in size.lower()


def _called(inputs: Sequence[TensorSpec]) -> dict[str, int]:
    """Of the free axes that are called a batch the first, by input."""
    found: dict[str, int] = {}
    for spec in inputs:
        for axis, size in enumerate(spec.shape):
            if called_batch(size):
                found.setdefault(spec.name, axis)
    return found


def _free(inputs: Sequence[TensorSpec]) -> Iterator[Mapping[str, int]]:
    free = [spec for spec in inputs if any(isinstance(size, str) for size in spec.shape)]
    for axis in (0, 1) if free else ():
        at = [size for spec in free for size in spec.shape[axis : axis + 1] if isinstance(size, str)]
        for name in dict.fromkeys(at):
            if all(name in spec.shape for spec in free):
                yield {spec.name: spec.shape.index(name) for spec in free}
        if axis == 0 and len(at) == len(free) > 1:
            yield dict.fromkeys((spec.name for spec in free), 0)


def _fixed(inputs: Sequence[TensorSpec]) -> Iterator[Mapping[str, int]]:
    largest = max(inputs, key=_values).shape if inputs else ()
    for axis in range(min(len(largest) - 1, 2 if len(largest) == _IN_TIME else 1)):
        size = largest[axis]
        if size == 1:
            return
        if isinstance(size, int):
            yield {spec.name: axis for spec in inputs if spec.shape[axis : axis + 1] == (size,)}


def _values(spec: TensorSpec) -> int:
    return math.prod(size if isinstance(size, int) else _ANY for size in spec.shape)
