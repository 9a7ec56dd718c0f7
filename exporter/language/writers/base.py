"""The interface of a form: how a decoder lies on disk for the library of a runtime."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ....backends.base import AxisRange, TensorSpec
from ....profiles.device.grid import Grid
from ....profiles.device.target import Target
from ..decoder import Decoder
from ..weights import DecoderWeights

# Of a form that is compiled: where the tokenizer lies beside the graph.
TOKENIZER = "tokenizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToCompile:
    """What is to be known of a file that is no engine yet, but the graph of one.

    Attributes:
        axes: range of each free axis by name.
        target: as which it is compiled.
    """

    opset: int
    axes: Mapping[str, AxisRange]
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a form wrote.

    Attributes:
        path: the file that the runtime opens; its siblings in the directory belong to it.
        inputs, outputs: of that file, free axes by name.
        notes: what a reader of the report must know, one sentence each.
        to_compile: None where the runtime opens the file itself.
    """

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...] = ()
    to_compile: ToCompile | None = None


class DecoderForm(abc.ABC):
    """Writes decoders for one runtime; `write` must not hold more than a few layers' weights at a time.

    Attributes:
        cache_bytes: of a key or a value in the runtime's cache.
        whole_blocks: a block must divide the row that it is part of.
        compiled: what is written is a graph, which the target's compiler makes an engine of.
    """

    cache_bytes: ClassVar[float] = 4.0
    whole_blocks: ClassVar[bool] = False
    compiled: ClassVar[bool] = False

    @abc.abstractmethod
    def why_not(self, decoder: Decoder, target: Target) -> str:
        """Why the runtime cannot run such a decoder, one clause; empty where it can."""

    @abc.abstractmethod
    def why_no_grid(self, grid: Grid, target: Target) -> str:
        """Why the runtime has no kernel for weights of this grid, one clause; empty where it has."""

    def usual(self, grid: Grid) -> Grid:
        """The grid as this runtime has it, of as many bits, where nobody asked for a block."""
        return self.storable(grid)

    def storable(self, grid: Grid) -> Grid:
        """The grid with those of its integers and scales that the runtime takes."""
        return grid

    def floats(self, decoder: Decoder) -> frozenset[str]:
        """Matrices that stay in float32 whatever is planned, by name of the linear layer, and TABLE."""
        return frozenset()

    @abc.abstractmethod
    def matrix_bytes(self, rows: int, columns: int, grid: Grid | None) -> int:
        """Bytes that a matrix takes on disk in this form; without a grid it is float32."""

    def memory_bytes(self, rows: int, columns: int, grid: Grid | None) -> int:
        """Bytes that a matrix takes in memory, and that a token reads of it: what lies on disk."""
        return self.matrix_bytes(rows, columns, grid)

    @abc.abstractmethod
    def write(
        self,
        decoder: Decoder,
        weights: DecoderWeights,
        directory: Path,
        *,
        target: Target,
        tokenizer: Path | None,
        advance: Callable[[float], None],
    ) -> Written:
        """Write graph, weights, configuration and tokenizer into `directory`, which exists and is empty.

        Args:
            tokenizer: directory with the files of transformers' tokenizer; None where the source has none.
            advance: told the share that is done.

        Raises:
            InputError: the tokenizer's files are damaged, or of a kind that the library does not have.
        """
