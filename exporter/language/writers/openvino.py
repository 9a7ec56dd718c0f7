"""A decoder as OpenVINO reads it: one stateful model in a directory that `openvino_genai.LLMPipeline` opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ....backends._vendor import import_or_explain
from ....backends.base import TensorSpec
from ....profiles.device.grid import Grid
from ....profiles.device.target import Target
from ..decoder import Decoder
from ..network import write
from ..weights import DecoderWeights
from ._openvino_files import write_configuration, write_tokenizer
from ._openvino_graph import OpenVinoWriter
from ._openvino_store import ConstantStore
from .base import DecoderForm, Written

MODEL = "openvino_model.xml"
# What makes an engine compute in float32 whoever opens it; its CPU plugin reads both from the model, and of the caller
# it takes INFERENCE_PRECISION_HINT alone. Left to itself it keeps keys and values in 8 bits, and turns what meets
# weights in integers into integers of 8 bits, 32 at a time, where the processor has instructions for them.
_EXACTLY = {"KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


class OpenVinoGenai(DecoderForm):
    """Stateful IR, tokenizer and detokenizer as models of their own, and the configuration."""

    def why_not(self, decoder: Decoder, target: Target) -> str:
        """Its operators say every decoder; what one of its plugins gets wrong is said here."""
        device = str(target.options.get("device", "CPU"))
        return "" if device == "CPU" else f"decoders are written for the CPU, and not for the {device}"

    def why_no_grid(self, grid: Grid, target: Target) -> str:
        """Its kernels turn integers of 4 and of 8 bits into floats, with one scale a row or a block."""
        if grid.bits not in (4, 8):
            return f"OpenVINO has no kernel for weights of {grid.bits} bits"
        if grid.granularity == "tensor":
            return "OpenVINO's kernels for integers take a scale a row or a block, and not one a matrix"
        if grid.bits == 4 and grid.block is not None and (grid.block < 16 or grid.block & (grid.block - 1)):
            # Seen with 2026.4.1 on AVX-512: blocks of 48 are right for many tokens at once, and wrong for one.
            return f"OpenVINO computes wrongly with 4 bits in blocks of {grid.block}; it takes 16, 32, 64 and so on"
        return ""

    def matrix_bytes(self, rows: int, columns: int, grid: Grid | None) -> int:
        """Codes, scales in 16 bits and zeros in the bits of codes."""
        if grid is None:
            return 4 * rows * columns
        blocks = rows * (-(-columns // grid.block) if grid.block else 1)
        zeros = 0 if grid.symmetric else -(-blocks * grid.bits // 8)
        return -(-rows * columns * grid.bits // 8) + 2 * blocks + zeros

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
        """As `DecoderForm.write` says."""
        path = directory / MODEL
        with ConstantStore(path) as store:
            writer = OpenVinoWriter(decoder, _Told(weights, len(list(decoder.linears())), advance), store)
            logits = write(decoder, writer)
            exact = not writer.integers or target.options.get("floats") == "float32"
            store.write(lambda stored: _model(logits, writer, stored, _EXACTLY if exact else {}))
        write_configuration(decoder, tokenizer, directory)
        notes = () if tokenizer is None else write_tokenizer(tokenizer, directory)
        return Written(path=path, inputs=tuple(_inputs(writer)), outputs=_outputs(decoder), notes=notes)


class _Told:
    """Weights that tell how many matrices were asked for."""

    def __init__(self, weights: DecoderWeights, total: int, advance: Callable[[float], None]) -> None:
        self._weights, self._total, self._advance, self._done = weights, total, advance, 0
        self.array, self.table = weights.array, weights.table

    def matrix(self, linear: Any) -> Any:
        self._done += 1
        self._advance(self._done / self._total)
        return self._weights.matrix(linear)


def _model(logits: Any, writer: OpenVinoWriter, stored: list[Any], options: Mapping[str, str]) -> Any:
    ov, ops = import_or_explain("openvino"), import_or_explain("openvino.opset15")
    logits.output(0).get_tensor().set_names({"logits"})
    result = ops.result(logits, name="logits/result")
    model = ov.Model([result], writer.sinks, [*writer.inputs.values(), *stored], "decoder")
    for option, value in options.items():
        model.set_rt_info(value, ["runtime_options", option])
    _name_by_position(model)
    return model


def _name_by_position(model: Any) -> None:
    """Name what nobody named, which OpenVINO numbers by a counter of the process: the same decoder, the same bytes."""
    for position, op in enumerate(model.get_ordered_ops()):
        if op.get_friendly_name() == op.get_name():
            op.set_friendly_name(f"{op.get_type_name()}_{position}")


def _inputs(writer: OpenVinoWriter) -> Iterator[TensorSpec]:
    for name in writer.inputs:
        if name == "beam_idx":
            yield TensorSpec(name=name, dtype="int32", shape=("batch",))
        else:
            yield TensorSpec(
                name=name, dtype="int64", shape=("batch", "total" if name == "attention_mask" else "positions")
            )


def _outputs(decoder: Decoder) -> tuple[TensorSpec, ...]:
    return (TensorSpec(name="logits", dtype="float32", shape=("batch", "positions", decoder.vocabulary)),)
