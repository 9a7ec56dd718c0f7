"""Decoders written for onnxruntime, and opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgepress.backends.base import Engine
from edgepress.backends.decoding import Decoding
from edgepress.exporter.language.decoder import Decoder, Linear, Tensor
from edgepress.exporter.language.rounding import round_matrix
from edgepress.exporter.language.weights import DecoderWeights, Floats, Matrix, TensorSource
from edgepress.exporter.language.writers.onnxruntime import Genai
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """The weights of a checkpoint, each matrix on a grid of its own or of all; in float32 without one."""

    decoder: Decoder
    checkpoint: TensorSource
    grid: Grid | None = None
    grids: Mapping[str, Grid] = field(default_factory=dict)

    def array(self, tensor: Tensor) -> Floats:
        return self.checkpoint.array(tensor)

    def matrix(self, linear: Linear) -> Matrix:
        return self._rounded(linear.weight, self.grids.get(linear.name, self.grid))

    def table(self) -> Matrix:
        return self._rounded(self.decoder.embedding, self.grids.get("embedding", self.grid))

    def _rounded(self, tensor: Tensor, grid: Grid | None) -> Matrix:
        array = self.checkpoint.array(tensor)
        return array if grid is None else round_matrix(array, grid)


def blocks(bits: int, block: int, *, symmetric: bool = True) -> Grid:
    """A grid of weights that kernels turn into floats."""
    return Grid(bits=bits, signed=symmetric, symmetric=symmetric, granularity="block", block=block)  # type: ignore[arg-type]


def written(
    decoder: Decoder, weights: DecoderWeights, directory: Path, *, tokenizer: Path | None = None, accuracy: int = 4
) -> Engine:
    """The decoder's engine in a directory, which is made."""
    directory.mkdir()
    target = load_target("server-cpu")
    target = replace(target, options={**target.options, "accuracy": accuracy})
    assert Genai().why_not(decoder, target) == ""
    done: list[float] = []
    file = Genai().write(decoder, weights, directory, target=target, tokenizer=tokenizer, advance=done.append)
    assert done == sorted(done)
    assert done[-1] == 1
    return Engine(
        path=file.path,
        backend="onnxruntime",
        target=target,
        precision="fp32",
        inputs=file.inputs,
        outputs=file.outputs,
    )


def logits(decoding: Decoding, tokens: npt.NDArray[np.int64], *parts: int) -> Floats:
    """What an open decoder thinks of tokens that it is given in parts of these lengths."""
    decoding.reset()
    ends = np.cumsum(parts)
    return np.concatenate(
        [decoding(tokens[:, end - part : end]) for part, end in zip(parts, ends, strict=True)], axis=1
    )


def away(got: Floats, want: npt.NDArray[np.floating]) -> float:
    """The largest difference, by the largest value."""
    return float(np.abs(got - want).max() / np.abs(want).max())
