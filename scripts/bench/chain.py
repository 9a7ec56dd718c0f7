"""A graph whose work is a number of equal convolutions, so that "5 % more work" is one layer more in twenty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save


def chain(path: Path, layers: int, channels: int = 32, size: int = 16) -> Path:
    """Write `layers` 3x3 convolutions of `channels` channels on size x size, each followed by a Relu."""
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((channels, channels, 3, 3)) / np.sqrt(4.5 * channels)).astype(np.float32)
    nodes = []
    for index in range(layers):
        before = "input" if index == 0 else f"r{index - 1}"
        after = "output" if index == layers - 1 else f"r{index}"
        nodes.append(helper.make_node("Conv", [before, f"w{index}"], [f"c{index}"], name=f"conv{index}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [after], name=f"relu{index}"))
    shape = [1, channels, size, size]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, f"w{index}") for index in range(layers)],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
