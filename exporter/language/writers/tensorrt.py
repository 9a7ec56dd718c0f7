"""The form for TensorRT and TensorRT-RTX: one graph of standard operators, with keys and values as inputs and outputs.

NVIDIA's libraries that write text read checkpoints of their own, and none takes an ONNX file: what is written here is
the engine's graph, whose caller feeds the cache back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ....profiles.device.grid import OPSET_OF_BLOCKS, Grid
from ....profiles.device.target import Target
from ..decoder import Decoder
from ..network import write
from ..weights import DecoderWeights
from ._cache import logits_and_cache, past, told
from ._onnx_graph import GraphFile
from ._plain_graph import TOKENS, PlainWriter
from .base import DecoderForm, Written

# ReduceMean has its axes as an input from 18 on, and Gelu is of 20.
_OPSET = 20
# Whose parser was found to take opset 21 and to build with integers in blocks: 1.7.1.
_TAKES_BLOCKS = ("tensorrt-rtx",)
_ROWS = "The table of the embedding is float32, as TensorRT has no lookup in integers; a tied head computes with it."
_NOTE = "The graph has no mask: all rows of a batch are equally long, and whoever runs it feeds present back as past."


class PlainOnnx(DecoderForm):
    """Standard operators, weights in int8 a channel, or in int4 by blocks where the parser takes opset 21."""

    def why_not(self, decoder: Decoder, target: Target) -> str:
        """A parser older than the operators."""
        if target.toolchain.opset < _OPSET:
            return (
                f"{target.toolchain.name} takes ONNX up to opset {target.toolchain.opset}, and a decoder needs {_OPSET}"
            )
        return ""

    def why_no_grid(self, grid: Grid, target: Target) -> str:
        """TensorRT has symmetric weights only, of 8 bits a channel or of 4 in blocks."""
        if not grid.symmetric:
            return "TensorRT has no zero points"
        if grid.bits == 8 and grid.granularity == "channel":
            return ""
        if grid.bits != 4 or grid.block is None:
            return "TensorRT has weights of 8 bits with one scale a channel, or of 4 bits in blocks"
        if target.backend in _TAKES_BLOCKS or target.toolchain.opset >= OPSET_OF_BLOCKS:
            return ""
        return (
            f"{target.toolchain.name} takes ONNX up to opset {target.toolchain.opset}, and {grid} needs opset "
            f"{OPSET_OF_BLOCKS}"
        )

    def matrix_bytes(self, rows: int, columns: int, grid: Grid | None) -> int:
        """Codes, and a float32 scale a block."""
        if grid is None:
            return 4 * rows * columns
        return -(-rows * columns * grid.bits // 8) + 4 * rows * -(-columns // (grid.block or columns))

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
        """Graph and weights; no library would read a tokenizer beside them."""
        inputs, outputs = past(decoder, TOKENS), logits_and_cache(decoder)
        opset = OPSET_OF_BLOCKS if target.backend in _TAKES_BLOCKS else target.toolchain.opset
        with GraphFile(directory, opset, ()) as graph:
            logits = write(decoder, PlainWriter(decoder, weights, graph, told(decoder, advance)))
            graph.call(logits, "logits")
            graph.save(inputs, outputs)
        return Written(path=graph.path, inputs=inputs, outputs=outputs, notes=(_NOTE, _ROWS))
