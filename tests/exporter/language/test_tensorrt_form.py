"""The graph for TensorRT computes as the decoder is described, and TensorRT-RTX parses and builds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from edgepress.backends.base import AxisRange
from edgepress.backends.registry import load_backend
from edgepress.errors import UnservedError
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.language.writers.base import Written
from edgepress.exporter.language.writers.tensorrt import PlainOnnx
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target

from ._computed import computed
from ._toy import CONTEXT, Toy
from ._written import Rounded, away, blocks
from .test_onnxruntime_form import TOKENS, TOYS

CHANNEL = Grid(bits=8, signed=True, symmetric=True, granularity="channel")


def put(toy: Toy, given: dict[str, Any], directory: Path, grid: Grid | None = None) -> tuple[Written, Any]:
    """The written graph, and logits as they should be."""
    decoder = toy.decoder(**given)
    weights = Rounded(decoder=decoder, checkpoint=toy, grid=grid)
    target = load_target("rtx")
    assert PlainOnnx().why_not(decoder, target) == ""
    file = PlainOnnx().write(decoder, weights, directory, target=target, tokenizer=None, advance=lambda share: None)
    return file, computed(decoder, weights, TOKENS)


def run(file: Written, *parts: int) -> npt.NDArray[np.float32]:
    """Logits by onnxruntime, which is told not to make kernels of its own of integers; they round activations, too."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(file.path), options, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in file.outputs]
    cache = {
        spec.name: np.zeros((len(TOKENS), spec.shape[1], 0, spec.shape[3]), dtype=np.float32)  # type: ignore[arg-type]
        for spec in file.inputs[1:]
    }
    found, at = [], 0
    for part in parts:
        given = dict(zip(names, session.run(names, {"input_ids": TOKENS[:, at : at + part], **cache}), strict=True))
        found.append(given["logits"])
        cache = {name: given[name.replace("past_key_values", "present")] for name in cache}
        at += part
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("name", TOYS)
def test_every_part_of_a_decoder_computes_as_described(name: str, tmp_path: Path) -> None:
    file, want = put(*TOYS[name], tmp_path)
    assert away(run(file, 7, 1, 32), want) < 1e-4


@pytest.mark.parametrize("grid", [CHANNEL, blocks(4, 16), blocks(4, 32)])
def test_integers_compute_as_the_floats_that_they_stand_for(grid: Grid, tmp_path: Path) -> None:
    file, want = put(Toy(biased=True), {}, tmp_path, grid)
    assert away(run(file, 40), want) < 1e-4


@pytest.mark.parametrize("grid", [None, CHANNEL, blocks(4, 32)])
def test_tensorrt_rtx_parses_and_builds_it(grid: Grid | None, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    (tmp_path / "graph").mkdir()
    (tmp_path / "engine").mkdir()
    file, _ = put(Toy(), {}, tmp_path / "graph", grid)
    lengths = AxisRange(smallest=1, usual=8, largest=CONTEXT)
    one = AxisRange(smallest=1, usual=1, largest=1)
    axes = {"batch_size": one, "sequence_length": lengths, "past_sequence_length": lengths}
    graph = read_graph(file.path, axes)
    backend, target = load_backend("tensorrt-rtx"), load_target("rtx")
    assert backend.check(graph, target) == ()
    engine = backend.compile(graph, target, tmp_path / "engine", "fp32")
    assert engine.path.stat().st_size > 10_000


def test_what_tensorrt_does_not_take_is_refused_with_the_reason(tmp_path: Path) -> None:
    form, jetson, rtx = PlainOnnx(), load_target("jetson-agx-orin-32gb"), load_target("rtx")
    assert form.why_no_grid(blocks(4, 32), jetson) == (
        "jetpack-6.2 takes ONNX up to opset 20, and int4 in blocks of 32 needs opset 21"
    )
    assert form.why_no_grid(CHANNEL, jetson) == ""
    assert form.why_no_grid(blocks(4, 32, symmetric=False), rtx) == "TensorRT has no zero points"
    assert "one scale a channel" in form.why_no_grid(blocks(8, 32), rtx)
    assert "a decoder needs 20" in form.why_not(Toy().decoder(), load_target("jetson-nano"))
    with pytest.raises(UnservedError, match="96 inputs, which blocks of 64 do not divide"):
        put(Toy(), {}, tmp_path, blocks(4, 64))
