"""The form for onnxruntime: a directory that `onnxruntime_genai` opens, with one graph for prompts and for decoding.

Option of a target:
    accuracy: `accuracy_level` of products with integers, as `MatMulNBits` has it: 4, the default, lets a kernel round
        what it multiplies weights by to 8 bits; 0 computes in float32. SmolLM2-135M in int4 on a processor with VNNI
        decodes 1.7 times as fast with 4, and is 0.6 % further from FP32 by its Kullback-Leibler divergence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ....errors import InputError
from ....profiles.device.grid import Grid
from ....profiles.device.target import Target
from ..decoder import Decoder
from ..network import write
from ..weights import DecoderWeights
from ._cache import logits_and_cache, past, told
from ._genai_config import copy_tokenizer, write_config
from ._genai_graph import GenaiWriter
from ._genai_positions import MASK, TOKENS
from ._onnx_graph import GraphFile
from ._packed import packed_bytes
from .base import DecoderForm, Written

# LayerNormalization is of 17, Gelu of 20.
_OPSET = 21
# MatMulNBits of onnxruntime 1.31 refuses other ones.
BLOCKS = (16, 32, 64, 128, 256)
_ACCURACIES = (0, 1, 4)
# Scales are made of their parts by constant folding. MatMulNBits of onnxruntime 1.31 takes no others: it gives zeros.
_SCALES = "Opened with graph optimizations switched off, onnxruntime gives zeros: it computes scales when it optimizes."
# GroupQueryAttention counts the mask and takes what it counted from the left; onnxruntime-genai fills on the right.
_NOTE = "Rows of a batch that are shorter than others are filled on the right; filled on the left they come out wrong."


class Genai(DecoderForm):
    """GroupQueryAttention, MatMulNBits and GatherBlockQuantized."""

    def why_not(self, decoder: Decoder, target: Target) -> str:
        """What GroupQueryAttention's kernel for the CPU cannot do."""
        for layer in decoder.layers:
            attention = layer.attention
            if attention.heads % attention.kv_heads:
                return f"{attention.heads} heads of queries do not share {attention.kv_heads} of keys evenly"
            if attention.head_size % 8:
                return f"onnxruntime's GroupQueryAttention takes heads of a multiple of 8, not of {attention.head_size}"
        shapes = {(layer.attention.kv_heads, layer.attention.head_size) for layer in decoder.layers}
        return "onnxruntime-genai takes one shape of cache for all layers" if len(shapes) > 1 else ""

    def why_no_grid(self, grid: Grid, target: Target) -> str:
        """MatMulNBits has integers of 4 and 8 bits, in blocks."""
        if grid.bits not in (4, 8):
            return f"onnxruntime's MatMulNBits has no weights of {grid.bits} bits on a CPU"
        if grid.block not in BLOCKS:
            return f"onnxruntime's MatMulNBits shares scales by {', '.join(map(str, BLOCKS))} weights of a row"
        return ""

    def matrix_bytes(self, rows: int, columns: int, grid: Grid | None) -> int:
        """Codes in whole blocks, short scales, and zeros of an asymmetric grid."""
        return packed_bytes(rows, columns, grid)

    def memory_bytes(self, rows: int, columns: int, grid: Grid | None) -> int:
        """As on disk, with the float32 scales that the runtime makes of short ones."""
        return packed_bytes(rows, columns, grid, scale=4)

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
        """Graph and weights, then what onnxruntime-genai reads besides."""
        # By this 1 onnxruntime-genai knows that it gets logits of the last token alone.
        inputs, outputs = past(decoder, TOKENS, MASK), logits_and_cache(decoder, positions=1)
        count = told(decoder, advance)
        with GraphFile(directory, _OPSET) as graph:
            writer = GenaiWriter(decoder, weights, graph, _accuracy(target), count)
            graph.call(write(decoder, writer), "logits")
            writer.settle()
            graph.save(inputs, outputs)
        write_config(decoder, directory, tokenizer)
        if tokenizer is not None:
            copy_tokenizer(tokenizer, directory)
        scaled = (_SCALES,) if graph.has("MatMulNBits") else ()
        return Written(path=graph.path, inputs=inputs, outputs=outputs, notes=(_NOTE, *scaled))


def _accuracy(target: Target) -> int:
    value = target.options.get("accuracy", 4)
    if value not in _ACCURACIES or not isinstance(value, int):
        expected = ", ".join(map(str, _ACCURACIES))
        raise InputError(f"Target {target.name}: option `accuracy` is {value!r}; expected one of {expected}.")
    return value
