"""The interface of a form: how a decoder lies on disk for the library of a runtime."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ....backends.base import TensorSpec
from ....profiles.device.grid import Grid
from ....profiles.device.target import Target
from ..decoder import Decoder
from ..weights import DecoderWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a form wrote.

    Attributes:
        path: the file that the runtime opens; its siblings in the directory belong to it.
        inputs, outputs: of that file, free axes by name.
        notes: what a reader of the report must know, one sentence each.
    """

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...] = ()


class DecoderForm(abc.ABC):
    """Writes decoders for one runtime; `write` must not hold more than a few layers' weights at a time.

    Attributes:
        cache_bytes: of a key or a value in the runtime's cache.
        scales: what scales of integers are stored in; codes are best chosen for scales that are rounded to it.
    """

    cache_bytes: ClassVar[float] = 4.0
    scales: ClassVar[Literal["float32", "float16"]] = "float32"

    @abc.abstractmethod
    def why_not(self, decoder: Decoder, target: Target) -> str:
        """Why the runtime cannot run such a decoder, one clause; empty where it can."""

    @abc.abstractmethod
    def why_no_grid(self, grid: Grid, target: Target) -> str:
        """Why the runtime has no kernel for weights of this grid, one clause; empty where it has."""

    @abc.abstractmethod
    def matrix_bytes(self, rows: int, columns: int, grid: Grid | None) -> int:
        """Bytes that a matrix takes on disk in this form; without a grid it is float32."""

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
