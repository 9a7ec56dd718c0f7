"""Decoders as OpenVINO reads them compute what transformers' modules do, in floats and in integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino
import openvino.opset15 as ops
import pytest
import torch

from edgepress.backends.base import Engine
from edgepress.backends.decoding import Decoding
from edgepress.backends.openvino import OpenVino
from edgepress.errors import InputError
from edgepress.exporter.language.decoder import Decoder
from edgepress.exporter.language.weights import DecoderWeights
from edgepress.exporter.language.writers._openvino_packing import pack
from edgepress.exporter.language.writers.openvino import OpenVinoGenai
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target

from ._families import MODELS, made, opened
from ._rounded import Plain, Restored, Rounded, rounded

Floats = npt.NDArray[np.float32]
INT4 = Grid(bits=4, signed=True, symmetric=True, granularity="block", block=32, whole=True)
GRIDS = (
    INT4,
    Grid(bits=4, signed=False, symmetric=False, granularity="block", block=16),
    Grid(bits=4, signed=False, symmetric=False, granularity="channel"),
    Grid(bits=8, signed=True, symmetric=True, granularity="channel", whole=True),
    Grid(bits=8, signed=False, symmetric=False, granularity="block", block=64),
)


def away(got: Floats, want: Floats) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


def written(decoder: Decoder, weights: DecoderWeights, directory: Path, **options: str) -> Engine:
    directory.mkdir()
    target = load_target("cpu")
    target = replace(target, options={**target.options, **options})
    made = OpenVinoGenai().write(decoder, weights, directory, target=target, tokenizer=None, advance=lambda share: None)
    return Engine(
        path=made.path, backend="openvino", target=target, precision="fp32", inputs=made.inputs, outputs=made.outputs
    )


def in_parts(decoding: Decoding, tokens: npt.NDArray[np.int64], *counts: int) -> Floats:
    decoding.reset()
    ends = np.cumsum(counts)
    return np.concatenate([decoding(tokens[:, end - count : end]) for end, count in zip(ends, counts, strict=True)], 1)


@pytest.mark.parametrize("name", MODELS)
def test_a_family_computes_what_transformers_does(name: str, tmp_path: Path) -> None:
    model = made(name, tmp_path)
    _, decoder, checkpoint = opened(tmp_path)
    tokens = np.random.default_rng(0).integers(0, decoder.vocabulary, (2, 13))
    with torch.no_grad():
        want = model(torch.from_numpy(tokens)).logits.numpy()
    engine = written(decoder, Plain(decoder, checkpoint), tmp_path / "engine")
    with OpenVino().decode(engine, threads=1) as decoding:
        assert away(in_parts(decoding, tokens, 13), want) < 1e-4
        assert away(in_parts(decoding, tokens, *[1] * 13), want) < 1e-4
        assert away(in_parts(decoding, tokens, 7, 1, 5), want) < 1e-4


def greedy(model: torch.nn.Module, prompt: list[int], most: int) -> list[int]:
    tokens = torch.tensor([prompt])
    with torch.no_grad():
        for _ in range(most):
            tokens = torch.cat([tokens, model(tokens).logits[:, -1:].argmax(-1)], 1)
    return [int(token) for token in tokens[0, len(prompt) :]]


# What the library's paged attention could lose, which drops the mask: windows, softcaps, learned positions.
_QUICK = ("mistral-window", "gemma2", "opt")


@pytest.mark.parametrize(
    "name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_the_library_writes_the_tokens_of_torch(name: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino_genai")
    model = made(name, tmp_path)
    _, decoder, checkpoint = opened(tmp_path)
    engine = written(decoder, Plain(decoder, checkpoint), tmp_path / "engine")
    prompt = [int(token) for token in np.random.default_rng(0).integers(3, decoder.vocabulary, 17)]
    tokens: list[int] = []
    with OpenVino().generate(engine, threads=1) as generation:
        generation.run(prompt, 30, tokens.append)
        with pytest.raises(InputError, match="no tokenizer"):
            generation.encode("a text")
        with pytest.raises(InputError, match="no tokens"):
            generation.run([], 3, tokens.append)
        with pytest.raises(InputError, match="context of 64"):
            generation.run(prompt, 48, tokens.append)
    assert tokens == greedy(model, prompt, 30)


# Each grid with what has most kinds of nodes; with biases or a tied table, the one that is shipped.
@pytest.mark.parametrize(
    ("grid", "name"),
    [
        pytest.param(grid, name, marks=() if name == "gemma2" or grid == INT4 else pytest.mark.slow)
        for grid in GRIDS
        for name in ("llama", "llama-biases", "gemma2")
    ],
    ids=str,
)
def test_integers_compute_what_their_floats_do(grid: Grid, name: str, tmp_path: Path) -> None:
    made(name, tmp_path)
    _, decoder, checkpoint = opened(tmp_path)
    tokens = np.random.default_rng(1).integers(0, decoder.vocabulary, (2, 13))
    engines = [
        written(decoder, kind(decoder, checkpoint, grid), tmp_path / kind.__name__, floats="float32")
        for kind in (Rounded, Restored)
    ]
    with OpenVino().decode(engines[0], threads=1) as integers, OpenVino().decode(engines[1], threads=1) as floats:
        want = in_parts(floats, tokens, 13)
        assert away(in_parts(integers, tokens, 13), want) < 1e-4
        assert away(in_parts(integers, tokens, 7, *[1] * 6), want) < 1e-4


def test_products_and_rows_are_taken_from_the_integers_themselves(tmp_path: Path) -> None:
    made("llama", tmp_path)
    _, decoder, checkpoint = opened(tmp_path)
    engine = written(decoder, Rounded(decoder, checkpoint, INT4), tmp_path / "engine", floats="float32")
    core = openvino.Core()
    compiled = core.compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    infos = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    found = [(str(info["layerType"].get()), str(info["runtimePrecision"].get())) for info in infos]
    # 60 inputs are a block of 32 and a rest: two products each; the table is that of the head.
    assert found.count(("FullyConnected", "i4")) == 2 * len(list(decoder.linears()))
    assert ("FullyConnected", "f32") not in found
    assert found.count(("Gather", "i4")) == 2
    kinds = [op.get_type_name() for op in compiled.get_runtime_model().get_ordered_ops()]
    assert not [kind for kind in kinds if kind == "MatMul"]
    assert [kind for kind, _ in found].count("ScaledDotProductAttention") == len(decoder.layers)
    assert [kind for kind, _ in found].count("RoPE") == 2 * len(decoder.layers)
    assert [kind for kind, _ in found].count("RMS") == 2 * len(decoder.layers) + 1


def test_a_tied_table_is_stored_once_and_sizes_are_as_foretold(tmp_path: Path) -> None:
    made("llama", tmp_path)
    _, decoder, checkpoint = opened(tmp_path)
    for grid in (None, *GRIDS):
        weights = Plain(decoder, checkpoint) if grid is None else Rounded(decoder, checkpoint, grid)
        engine = written(decoder, weights, tmp_path / str(grid))
        told = sum(OpenVinoGenai().matrix_bytes(each.outputs, each.inputs, grid) for each in decoder.linears())
        size = engine.path.with_suffix(".bin").stat().st_size
        assert told <= size < told + 12_000  # norms, constants of shapes, and up to 64 bytes before each tensor


def test_tokens_that_fill_a_batch_change_nothing(tmp_path: Path) -> None:
    made("ministral", tmp_path)
    _, decoder, checkpoint = opened(tmp_path)
    engine = written(decoder, Plain(decoder, checkpoint), tmp_path / "engine")
    tokens = np.random.default_rng(2).integers(0, decoder.vocabulary, (1, 13))
    with OpenVino().decode(engine, threads=1) as decoding:
        want = in_parts(decoding, tokens, 13)
    request = openvino.Core().compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = request.create_infer_request()
    filled = np.concatenate([np.zeros((1, 4), np.int64), tokens], 1)
    mask = (np.arange(17) >= 4).astype(np.int64)[None]
    got = request.infer(
        {
            "input_ids": np.concatenate([filled, filled[:, ::-1]]),
            "attention_mask": np.concatenate([mask, np.ones_like(mask)]),
            "position_ids": np.concatenate([np.clip(np.arange(17) - 4, 0, None)[None], np.arange(17)[None]]),
            "beam_idx": np.arange(2, dtype=np.int32),
        }
    )
    assert away(next(iter(got.values()))[:1, 4:], want) < 1e-5


def test_the_same_decoder_is_the_same_bytes(tmp_path: Path) -> None:
    made("gemma2", tmp_path)
    _, decoder, checkpoint = opened(tmp_path)
    engines = [written(decoder, Rounded(decoder, checkpoint, INT4), tmp_path / name) for name in "ab"]
    for suffix in (".xml", ".bin"):
        first, second = (engine.path.with_suffix(suffix).read_bytes() for engine in engines)
        assert first == second


def test_only_an_engine_of_floats_says_how_it_is_to_be_computed(tmp_path: Path) -> None:
    made("llama", tmp_path)
    _, decoder, checkpoint = opened(tmp_path)
    core, options = openvino.Core(), ("KV_CACHE_PRECISION", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
    floats = written(decoder, Plain(decoder, checkpoint), tmp_path / "floats")
    compiled = core.compile_model(floats.path, "CPU")
    assert compiled.get_property(options[0]) == openvino.Type.f32
    assert compiled.get_property(options[1]) == 0
    integers = written(decoder, Rounded(decoder, checkpoint, INT4), tmp_path / "integers")
    assert not core.read_model(integers.path).has_rt_info("runtime_options")


def test_grids_that_openvino_computes_wrongly_are_refused(tmp_path: Path) -> None:
    form, target = OpenVinoGenai(), load_target("cpu")
    odd = Grid(bits=4, signed=True, symmetric=True, granularity="block", block=48, whole=True)
    assert "blocks of 48" in form.why_no_grid(odd, target)
    assert not form.why_no_grid(INT4, target)
    assert form.why_no_grid(Grid(bits=8, signed=True, symmetric=True), target)
    made("llama", tmp_path, intermediate_size=93)
    _, decoder, checkpoint = opened(tmp_path)
    with pytest.raises(InputError, match="93 inputs"):
        written(decoder, Rounded(decoder, checkpoint, INT4), tmp_path / "engine")


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_packed_integers_are_read_back_as_they_were(grid: Grid) -> None:
    matrix = rounded(np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32), grid)
    read = []
    for part in pack("matrix", matrix):
        codes = openvino.Tensor(part.codes, openvino.Shape(list(part.shape)), getattr(openvino.Type, part.kind))
        node = ops.convert(ops.constant(codes), np.float32)
        if part.zeros is not None:
            shape = openvino.Shape(list(part.scales.shape))
            zeros = openvino.Tensor(part.zeros, shape, getattr(openvino.Type, part.kind))
            node = ops.subtract(node, ops.convert(ops.constant(zeros), np.float32))
        node = ops.multiply(node, ops.constant(part.scales.astype(np.float32)))
        compiled = openvino.Core().compile_model(openvino.Model([node], []), "CPU")
        read.append(next(iter(compiled({}).values())).reshape(5, -1))
    assert np.array_equal(np.concatenate(read, 1), matrix.floats())


def test_a_scale_beyond_16_bits_is_refused() -> None:
    matrix = rounded(np.ones((2, 64), np.float32), INT4)
    huge = replace(matrix, scales=matrix.scales * np.float32(1e7))
    with pytest.raises(InputError, match="16 bits"):
        pack("layers.0.attention.query", huge)
