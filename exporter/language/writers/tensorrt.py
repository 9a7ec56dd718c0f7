"""The form for TensorRT and TensorRT-RTX: one graph of standard operators, with keys and values as inputs and outputs.

NVIDIA's libraries that write text read checkpoints of their own, and none takes an ONNX file: what is written here is
the engine's graph, whose caller feeds the cache back.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ....backends.base import AxisRange
from ....profiles.device.grid import OPSET_OF_BLOCKS, Grid
from ....profiles.device.target import Target
from ..decoder import Decoder
from ..network import write
from ..quantize import TABLE
from ..weights import DecoderWeights
from ._cache import logits_and_cache, past, told
from ._genai_config import TOKENIZER_FILES
from ._onnx_graph import GraphFile
from ._plain_graph import TOKENS, PlainWriter
from .base import TOKENIZER, DecoderForm, ToCompile, Written

# ReduceMean has its axes as an input from 18 on, and Gelu is of 20.
_OPSET = 20
# Whose parser was found to take opset 21 and to build with integers in blocks: 1.7.1.
_TAKES_BLOCKS = ("tensorrt-rtx",)
_ROWS = "The table of the embedding is float32, as TensorRT has no lookup in integers; a tied head computes with it."
_NOTE = "The graph has no mask, and whoever runs it feeds present back as past; the first past has a length of 0."
_AXES = (
    "The engine takes one sequence, up to {most} tokens at a time behind up to {past}; it is tuned for one token "
    "behind {usual}."
)
# Flags of trtexec.
_TYPED, _LOWERS = "--stronglyTyped", ("--int8", "--fp16", "--bf16")
# Tokens of a prompt that are read at a time: of 131,072 at once the products of queries and keys alone are terabytes.
_MOST = 512


class PlainOnnx(DecoderForm):
    """Standard operators, weights in int8 a channel, or in int4 by blocks where the parser takes opset 21."""

    whole_blocks = True
    compiled = True

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

    def usual(self, grid: Grid) -> Grid:
        """Of 8 bits one scale a channel."""
        wide = replace(grid, granularity="channel", block=None) if grid.bits == 8 else grid
        return self.storable(wide)

    def storable(self, grid: Grid) -> Grid:
        """Scales above 0: where the smallest integer is used, some are negative, which TensorRT's parsers refuse."""
        return replace(grid, whole=False)

    def floats(self, decoder: Decoder) -> frozenset[str]:
        """The table, and the head that computes with it."""
        return frozenset({decoder.head.name} if decoder.tied else {TABLE})

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
        """Graph and weights, and for whoever runs them the tokenizer, in a directory of its own."""
        inputs, outputs = past(decoder, TOKENS), logits_and_cache(decoder)
        opset, axes = OPSET_OF_BLOCKS if target.backend in _TAKES_BLOCKS else target.toolchain.opset, _axes(decoder)
        with GraphFile(directory, opset, ()) as graph:
            logits = write(decoder, PlainWriter(decoder, weights, graph, told(decoder, advance)))
            graph.call(logits, "logits")
            graph.save(inputs, outputs)
        if tokenizer is not None:
            (directory / TOKENIZER).mkdir()
            for name in TOKENIZER_FILES:
                if (tokenizer / name).is_file():
                    shutil.copyfile(tokenizer / name, directory / TOKENIZER / name)
        tokens, cache = axes["sequence_length"], axes["past_sequence_length"]
        shaped = _AXES.format(most=tokens.largest, past=cache.largest, usual=cache.usual)
        return Written(
            path=graph.path,
            inputs=inputs,
            outputs=outputs,
            notes=(_NOTE, shaped, _ROWS),
            to_compile=ToCompile(opset=opset, axes=axes, target=_typed(target)),
        )


def _axes(decoder: Decoder) -> Mapping[str, AxisRange]:
    """Sizes of the free inputs: the cache is empty before the first token."""
    last = max(decoder.context - 1, 1)
    return {
        "batch_size": AxisRange(smallest=1, usual=1, largest=1),
        "sequence_length": AxisRange(smallest=1, usual=1, largest=min(_MOST, decoder.context)),
        "past_sequence_length": AxisRange(smallest=0, usual=(last + 1) // 2, largest=last),
    }


def _typed(target: Target) -> Target:
    """The target whose compiler leaves every value in the type that the graph says.

    Flags that allow FP16 where it is faster let norms overflow: values of a decoder are larger than the root of 65504.
    Every TensorRT that takes the graph's opset has such networks, which are of version 10.
    """
    given = target.toolchain.build_flags
    if not given:  # it is built through its Python API, and no flags are typed by default
        return target
    flags = {name: [f for f in given.get(name, ()) if f not in (_TYPED, *_LOWERS)] for name in (*given, "int4")}
    typed = {name: (_TYPED, *rest) for name, rest in flags.items()}
    return replace(target, toolchain=replace(target.toolchain, build_flags=typed))
