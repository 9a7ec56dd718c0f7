"""Samples larger than all that ranges come of, which one in so many others is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress
from edgepress.exporter.bundle.reportables import load_report

SIZE = 16
Draw = Callable[[np.random.Generator, int], np.ndarray]


def network(path: Path, *, of_whole_numbers: bool) -> Path:
    """A layer of the squares of what is fed, of its whole part or of all of it."""
    weight = (np.random.default_rng(0).normal(size=(SIZE, 8)) * 0.3).astype(np.float32)
    whole = [
        helper.make_node("Cast", ["x"], ["cut"], "cut", to=TensorProto.INT32),
        helper.make_node("Cast", ["cut"], ["number"], "number", to=TensorProto.FLOAT),
    ]
    nodes = [
        *(whole if of_whole_numbers else [helper.make_node("Abs", ["x"], ["number"], "abs")]),
        helper.make_node("Mul", ["number", "number"], ["square"], "square"),
        helper.make_node("MatMul", ["square", "w"], ["y"], "layer"),
    ]
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def told(path: Path, draw: Draw, seed: int = 1) -> list[str]:
    """What the report of a bundle for a server, in `out` beside the file, says of larger samples."""
    data = [{"x": draw(np.random.default_rng(seed), 128).astype(np.float32)}]
    bundle = edgepress.export(
        path, target="server-cpu", precision="int8", calibration=data, measure=False, output=path.parent / "out"
    )
    return [gap.why for gap in load_report(bundle.path).missing if gap.subject == "larger"]


def test_a_step_that_no_sample_reached_is_told_of(tmp_path: Path) -> None:
    """The largest of 128 samples are below 3, and one in a thousand of others is not."""

    def draw(chance: np.random.Generator, samples: int) -> np.ndarray:
        return chance.normal(size=(samples, SIZE)) * 0.75

    path = network(tmp_path / "model.onnx", of_whole_numbers=True)
    (why,) = told(path, draw)
    assert "One in 129 other samples is larger than all 128" in why
    claimed, _, expected = map(float, re.findall(r"([\d.]+) dB", why))
    fresh = draw(np.random.default_rng(2), 20_000).astype(np.float32)
    (graph,) = (tmp_path / "out").glob("*/model.onnx")
    right, found = (onnxruntime.InferenceSession(str(one)).run(None, {"x": fresh})[0] for one in (path, graph))
    has = 10 * np.log10(np.square(right).sum() / np.square(right - found).sum())
    assert abs(expected - has) < claimed - has


@pytest.mark.parametrize("of_whole_numbers", [True, False])
def test_data_that_end_at_a_bound_are_not_doubted(of_whole_numbers: bool, tmp_path: Path) -> None:
    def draw(chance: np.random.Generator, samples: int) -> np.ndarray:
        return chance.choice([0.0, 1.0, 2.0, 3.0], size=(samples, SIZE)) + 0.5 * (not of_whole_numbers)

    assert not told(network(tmp_path / "model.onnx", of_whole_numbers=of_whole_numbers), draw)


def test_what_is_clipped_a_little_is_not_doubted(tmp_path: Path) -> None:
    assert not told(
        network(tmp_path / "model.onnx", of_whole_numbers=False),
        lambda chance, samples: chance.uniform(-1, 1, size=(samples, SIZE)),
    )
