"""int8 at sizes that its data do not have is held against FP32, and what it loses there is said with figures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import edgepress
from edgepress.backends.base import AxisRange
from edgepress.exporter.candidates.doubts.of_other_sizes import of_other_sizes
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.sources import load_source


class Squared(nn.Module):
    """Squares the sum over all places, which the data have many of, or their mean."""

    def __init__(self, mean: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mean, self.conv, self.head = mean, nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 6)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        seen = self.conv(image)
        return self.head(seen.mean((2, 3)) if self.mean else seen.sum((2, 3)).square() / 100)


@pytest.mark.parametrize("mean", [True, False])
def test_what_is_lost_at_sizes_that_the_data_lack_is_said(mean: bool, tmp_path: Path) -> None:
    image = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    reach = AxisRange(smallest=16, usual=32, largest=64)
    bundle = edgepress.export(
        Squared(mean).eval(), {"image": image[:2]}, target="server-cpu", precision="int8",
        dynamic={"image": {0: "batch", 2: "height", 3: "width"}}, axes={"height": reach, "width": reach},
        calibration=[{"image": x.numpy()} for x in image.split(8)], measure=False, output=tmp_path,
    )  # fmt: skip
    report = json.loads((bundle.path / "report.json").read_text())
    found = {gap["subject"]: gap["why"] for gap in report["missing"]}
    (note,) = (note for note in report["notes"] if note.startswith("On made-up inputs int8 has"))
    assert re.search(
        r"at height 16, width 16 \S+ dB .*, at height 64, width 64 \S+ dB .*; at height 32, width 32", note
    )
    assert ("sizes" in found) == (not mean)
    if not mean:
        figures = re.match(
            r"At height 64, width 64, .* has (\S+) dB .* and (\S+) dB at height 32, width 32", found["sizes"]
        )
        assert figures is not None and float(figures[1]) < float(figures[2]) - 3


def root_of_sum(path: Path, factor: float) -> Path:
    """No number where the sum over time is negative, as it may be of a single step."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "time"], ["sum"], keepdims=0),
        helper.make_node("Sqrt", ["sum"], ["root"]),
        helper.make_node("Mul", ["root", "factor"], ["y"]),
    ]
    constants = {"time": np.array([1], np.int64), "factor": np.float32(factor)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "t"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_int8_is_not_blamed_for_what_fp32_makes_no_numbers_of(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(1, 1, (16, 40)).astype(np.float32)
    source = replace(load_source(str(root_of_sum(tmp_path / "right.onnx", 1))), inputs={"x": x})
    sizes = {"n": (1, 16, 16), "t": (1, 40, 80)}
    axes = {name: AxisRange(smallest=a, usual=b, largest=c) for name, (a, b, c) in sizes.items()}
    right, rounded = (read_graph(root_of_sum(tmp_path / f"{factor}.onnx", factor), axes) for factor in (1, 1.001))
    assert of_other_sizes(source, right, rounded, 0, {"y"}, 10)[0] == {}
