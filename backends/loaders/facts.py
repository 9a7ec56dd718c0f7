"""What a loader is written from: the model's tensors, where its golden data lie, and what they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderTensor:
    """An input or output of the model.

    Attributes:
        dtype: numpy's name of its type.
        told: name, type and shape for people, with the range of each free axis.
        rows: it is a set of rows, in no order.
    """

    name: str
    dtype: str
    told: str
    rows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """An array that lies whole, in C order and little-endian, in a file of the bundle.

    Attributes:
        file: in the bundle, with forward slashes.
        offset: of its first byte.
        dtype: numpy's name of its type.
    """

    file: str
    offset: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A golden input and what it is compared with; arrays are in the order of the model's inputs and outputs.

    Attributes:
        fp32: outputs of the FP32 model.
        own: outputs of the graph that the engine was compiled from; empty where these are not told.
    """

    inputs: tuple[Slice, ...]
    fp32: tuple[Slice, ...]
    own: tuple[Slice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderFacts:
    """One engine in a bundle.

    Attributes:
        engine: the file to open, in the bundle, with forward slashes.
        graph: the ONNX file that it was compiled from, where it lies now.
        axes: the free axes of the inputs, each with its size in a single inference.
        least_db: of SQNR that each output must reach against FP32 over all samples.
        least_own_db: the same against its own graph; None where that is not asked.
        versions: of the tools that made the bundle.
    """

    model: str
    target: Target
    precision: PrecisionName
    engine: str
    graph: Path
    inputs: tuple[LoaderTensor, ...]
    outputs: tuple[LoaderTensor, ...]
    axes: Mapping[str, int]
    samples: tuple[Sample, ...]
    least_db: float
    least_own_db: float | None
    versions: Mapping[str, str]
