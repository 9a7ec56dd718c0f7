"""A graph on disk, and what is said of it: its tensors, the ranges of its free axes, where its samples lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError

Array = npt.NDArray[np.generic]
Feed = Mapping[str, Array]


@cache
def _name(dtype: np.dtype[np.generic]) -> str:
    """The name of a dtype, which numpy puts together anew each time."""
    return dtype.name


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, numpy dtype name and shape of a tensor; an axis given by name is free."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def mismatch(self, array: Array) -> str:
        """What is wrong with the array, as a clause; empty where it fits."""
        # Asked at each inference, where microseconds count.
        if _name(array.dtype) != self.dtype:
            return f"has dtype {array.dtype.name}, expected {self.dtype}"
        if array.shape == self.shape:
            return ""
        fits = array.ndim == len(self.shape) and all(
            isinstance(want, str) or want == have for want, have in zip(self.shape, array.shape, strict=False)
        )
        return "" if fits else f"has shape {array.shape}, expected {self}"

    def __str__(self) -> str:
        return f"({', '.join(str(d) for d in self.shape)}{',' if len(self.shape) == 1 else ''})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisRange:
    """Smallest, usual and largest size of a free axis."""

    smallest: int
    usual: int
    largest: int

    @classmethod
    def parse(cls, text: str) -> AxisRange:
        """`MIN:USUAL:MAX`.

        Raises:
            InputError: not of that form, or not 1 <= MIN <= USUAL <= MAX.
        """
        parts = text.strip().split(":")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
            raise InputError(f"{text!r} is not MIN:USUAL:MAX, as in 1:8:64.")
        smallest, usual, largest = (int(part) for part in parts)
        if not 1 <= smallest <= usual <= largest:
            raise InputError(f"{text!r}: expected 1 <= MIN <= USUAL <= MAX.")
        return cls(smallest=smallest, usual=usual, largest=largest)

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.smallest}:{self.usual}:{self.largest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleAxes:
    """Where the samples of a batch lie: along which axis of each input and output.

    What is not named has none: it belongs to all samples alike, as the matrix of a camera does. Where no input has one,
    a batch is one sample, as the nodes and edges of a graph are, or the steps of a recording.
    """

    inputs: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)

    def count(self, feed: Feed) -> int:
        """Samples in a batch."""
        sizes = {feed[name].shape[axis] for name, axis in self.inputs.items() if name in feed}
        return int(sizes.pop()) if len(sizes) == 1 else 1

    def divide(self, inputs: Sequence[TensorSpec]) -> bool:
        """Whether a batch of these inputs can be cut: all of them have samples, and any number of those."""
        return bool(inputs) and all(
            spec.name in self.inputs and isinstance(spec.shape[self.inputs[spec.name]], str) for spec in inputs
        )

    def part(self, feed: Feed, some: slice) -> dict[str, Array]:
        """Some samples of a batch."""
        at = {name: (slice(None),) * axis + (some,) for name, axis in self.inputs.items()}
        return {name: array[at.get(name, ...)] for name, array in feed.items()}

    def first(self, name: str, array: Array) -> Array:
        """The array of an input or output with samples along its first axis, where that is one sample or more."""
        axis = self.inputs.get(name, self.outputs.get(name))
        return array[None] if axis is None else np.moveaxis(array, axis, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """An ONNX file on disk.

    Attributes:
        path: the `.onnx` file; external data lie beside it.
        digest: sha256 of the file and its external data.
        axes: range of each free axis by name.
        samples: where the samples of a batch lie; of a captured graph as seen, else as its shapes say.
    """

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    digest: str
    axes: Mapping[str, AxisRange] = field(default_factory=dict)
    samples: SampleAxes = field(default_factory=SampleAxes)
