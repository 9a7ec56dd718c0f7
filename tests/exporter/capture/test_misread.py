"""Layers and pools of files, by the words of ONNX: what a runtime reads otherwise is refused with its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress
from edgepress.errors import InputError, RefusedError
from edgepress.exporter.capture.original import Original

SIZE, STEPS = 4, 3
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(
    path: Path, operator: str, inputs: dict[int, tuple[int, ...]] | None = None, **attributes: object
) -> Path:
    """A file with one layer; `inputs` are constants beside its weights, by place."""
    rng = np.random.default_rng(0)
    gates = GATES[operator] * SIZE
    shapes = {1: (1, gates, SIZE), 2: (1, gates, SIZE), **(inputs or {})}
    named = [f"w{index}" if index in shapes else "" for index in range(1, max(shapes) + 1)]
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), f"w{i}") for i, s in shapes.items()]
    node = helper.make_node(operator, ["x", *named], ["y"], name="layer", hidden_size=SIZE, **attributes)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in {"x": [STEPS, 2, SIZE], "y": [STEPS, 1, 2, SIZE]}.items()
    ]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("operator", GATES)
def test_a_threshold_that_onnx_and_onnxruntime_take_for_another_is_refused(operator: str, tmp_path: Path) -> None:
    count = {"LSTM": 3, "GRU": 2, "RNN": 1}[operator]
    left_out = recurrent(tmp_path / "m.onnx", operator, activations=["ThresholdedRelu"] * count)
    with pytest.raises(InputError, match=r"layer.* has a ThresholdedRelu without its activation_alpha: ONNX takes 1"):
        Original.of(left_out, tmp_path)
    given = recurrent(
        tmp_path / "g.onnx", operator, activations=["ThresholdedRelu"] * count, activation_alpha=[1.0] * count
    )
    Original.of(given, tmp_path)


def test_a_number_is_for_the_activations_that_take_one(tmp_path: Path) -> None:
    kinds = ["Sigmoid", "ThresholdedRelu", "LeakyRelu"]
    Original.of(recurrent(tmp_path / "m.onnx", "LSTM", activations=kinds, activation_alpha=[0.3]), tmp_path)


def test_a_layer_that_is_refused_in_float_too_is_not_said_to_have_no_int8(tmp_path: Path) -> None:
    path = recurrent(tmp_path / "m.onnx", "LSTM", {7: (1, 3 * SIZE)})
    data = [{"x": np.random.default_rng(i).normal(size=(STEPS, 2, SIZE)).astype(np.float32)} for i in range(8)]
    with pytest.raises(RefusedError, match="peepholes"):
        edgepress.export(
            str(path), target="cpu", precision="int8", calibration=data, measure=False, output=tmp_path / "dist"
        )


def pool(path: Path, operator: str, **attributes: object) -> Path:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2, size]) for name, size in (("x", 8), ("y", "l"))
    ]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], "pool", **attributes)], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=8), path)
    return path


@pytest.mark.parametrize("word", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "LpPool"])
def test_a_dilated_pool_that_pads_by_a_word_is_refused(operator: str, word: str, tmp_path: Path) -> None:
    path = pool(tmp_path / "m.onnx", operator, kernel_shape=[3], dilations=[2], auto_pad=word)
    with pytest.raises(InputError, match=rf"{operator} 'pool' of .* has dilations and the auto_pad {word}") as caught:
        Original.of(path, tmp_path)
    assert "pads" in caught.value.hint


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3], "dilations": [2], "pads": [2, 2]},
        {"kernel_shape": [3], "dilations": [1], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [1], "dilations": [2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [3], "dilations": [2], "auto_pad": "VALID"},
    ],
)
def test_a_pool_that_both_read_alike_is_taken(attributes: dict[str, object], tmp_path: Path) -> None:
    Original.of(pool(tmp_path / "m.onnx", "MaxPool", **attributes), tmp_path)
