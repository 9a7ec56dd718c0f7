"""Files of old opsets keep their meaning, and free axes without a name are free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress import export
from edgepress.backends.base import AxisRange
from edgepress.errors import InputError, VerificationError
from edgepress.exporter.capture import capture as capturing
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import load_source

RNG = np.random.default_rng(0)


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    opset: int,
    shape: Sequence[int | str | None],
    constants: dict[str, np.ndarray],
    outputs: Sequence[str] = ("y",),
    rank: int = 4,
) -> Path:
    """A file with one input `x`."""
    graph = helper.make_graph(
        list(nodes),
        "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    onnx.save(model, path)
    return path


def proven(path: Path, opset: int = 20) -> None:
    source = load_source(str(path))
    axes = {
        name: AxisRange(smallest=1, usual=source.inputs["x"].shape[axis], largest=64)
        for axis, name in source.dynamic.get("x", {}).items()
    }
    graph = capture(source, opset, path.with_name("model.onnx"), axes)
    for name, agreement in prove_capture(source, graph, seed=0).items():
        assert agreement.sqnr_db > 100, name


WEIGHT = RNG.standard_normal((8, 3, 3, 3)).astype(np.float32)
CONVOLUTION = helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4)
RECTIFIED = [CONVOLUTION, helper.make_node("Relu", ["c"], ["y"])]
SCALES = np.array([1, 1, 1.5, 2], np.float32)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(("opset", "axis"), [(11, 1), (11, 2), (11, -2), (9, 1), (12, 0)])
def test_what_flattened_from_an_axis_still_does(operator: str, opset: int, axis: int, tmp_path: Path) -> None:
    nodes = [CONVOLUTION, helper.make_node(operator, ["c"], ["y"], axis=axis)]
    proven(write(tmp_path / "old.onnx", nodes, opset, [2, 3, 6, 5], {"w": WEIGHT}))


@pytest.mark.parametrize("operators", [("Softmax", "LogSoftmax"), ("Softmax", "Hardmax", "Softmax")])
def test_several_that_flattened_one_tensor(operators: tuple[str, ...], tmp_path: Path) -> None:
    """Sizes that are all named after that tensor are kept apart."""
    axes = range(1, 1 + len(operators))
    nodes = [helper.make_node(kind, ["c"], [f"y{axis}"], axis=axis) for kind, axis in zip(operators, axes, strict=True)]
    outputs = [f"y{axis}" for axis in axes]
    proven(write(tmp_path / "old.onnx", [CONVOLUTION, *nodes], 11, [2, 3, 6, 5], {"w": WEIGHT}, outputs))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("operator", "opset"), [("Resize", 10), ("Upsample", 9)])
def test_what_sampled_asymmetrically_still_does(operator: str, opset: int, mode: str, tmp_path: Path) -> None:
    nodes = [CONVOLUTION, helper.make_node(operator, ["c", "scales"], ["y"], mode=mode)]
    proven(write(tmp_path / "old.onnx", nodes, opset, [2, 3, 6, 5], {"w": WEIGHT, "scales": SCALES}))


def test_the_scales_of_an_attribute(tmp_path: Path) -> None:
    nodes = [CONVOLUTION, helper.make_node("Upsample", ["c"], ["y"], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])]
    proven(write(tmp_path / "old.onnx", nodes, 8, [2, 3, 6, 5], {"w": WEIGHT}))


@pytest.mark.parametrize("mode", ["reflect", "edge", "constant"])
def test_a_pad_with_a_value_that_its_mode_does_not_read(mode: str, tmp_path: Path) -> None:
    pads = [0, 0, 1, 1, 0, 0, 1, 2]
    nodes = [CONVOLUTION, helper.make_node("Pad", ["c"], ["y"], mode=mode, pads=pads, value=0.5)]
    proven(write(tmp_path / "old.onnx", nodes, 7, [2, 3, 6, 5], {"w": WEIGHT}))


@pytest.mark.parametrize("opset", [11, 12, 17])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_sequence_of_parts_that_is_joined_again(opset: int, size: int, tmp_path: Path) -> None:
    """The optimizer makes a Split of it, with an attribute that began with opset 18."""
    nodes = [
        CONVOLUTION,
        helper.make_node("SplitToSequence", ["c", "size"], ["parts"], axis=1),
        helper.make_node("ConcatFromSequence", ["parts"], ["y"], axis=2),
    ]
    if 8 % size:
        nodes[2] = helper.make_node("ConcatFromSequence", ["parts"], ["y"], axis=1)
    proven(write(tmp_path / "old.onnx", nodes, opset, [2, 3, 6, 5], {"w": WEIGHT, "size": np.array(size)}))


def test_a_constant_that_nothing_reads(tmp_path: Path) -> None:
    """Of a copy at IR version 3 onnxruntime asks for it among the inputs."""
    path = write(tmp_path / "old.onnx", RECTIFIED, 8, [2, 3, 6, 5], {"w": WEIGHT, "nobody": np.zeros(2, np.float32)})
    model = onnx.load(path)
    model.ir_version = 10
    onnx.save(model, path)
    proven(path)


def test_a_size_of_minus_one_is_free_inside_too(tmp_path: Path) -> None:
    """The converter writes the input's -1 into what follows."""
    nodes = [helper.make_node("PRelu", ["x", "slope"], ["r"]), helper.make_node("Softsign", ["r"], ["y"])]
    path = write(tmp_path / "old.onnx", nodes, 7, [6, -1, 5], {"slope": np.float32([0.3])}, rank=3)
    proven(path)


@pytest.mark.parametrize("opset", [11, 12, 13])
def test_a_reshape_to_sizes_read_off_a_tensor(opset: int, tmp_path: Path) -> None:
    axes = {"axes": [0]} if opset < 13 else {}
    more = [] if opset < 13 else ["zeros"]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["q"], axes=[1, 2], keepdims=0),
        helper.make_node("Shape", ["q"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["b"], axis=0),
        helper.make_node("Gather", ["s", "one"], ["t"], axis=0),
        helper.make_node("Unsqueeze", ["b", *more], ["b1"], **axes),
        helper.make_node("Unsqueeze", ["t", *more], ["t1"], **axes),
        helper.make_node("Concat", ["b1", "t1"], ["shape"], axis=0),
        helper.make_node("Reshape", ["q", "shape"], ["y"]),
    ]
    integers = {"zero": np.array(0), "one": np.array(1), **({"zeros": np.array([0])} if more else {})}
    proven(write(tmp_path / "old.onnx", nodes, opset, [1, 3, 6, "width"], integers, rank=2))


@pytest.mark.parametrize(
    "shape", [[-1, 3, 16, 16], [0, 3, 16, 16], ["?", 3, "?", "?"], ["unk", 3, "None", "None"], [None, 3, 16, None]]
)
def test_an_axis_without_a_name_is_free(shape: list[int | str | None], tmp_path: Path) -> None:
    path = write(
        tmp_path / "free.onnx", [CONVOLUTION, helper.make_node("Relu", ["c"], ["y"])], 15, shape, {"w": WEIGHT}
    )
    free = {axis: f"x_axis{axis}" for axis, size in enumerate(shape) if size not in (3, 16)}
    assert load_source(str(path)).dynamic == {"x": free}
    proven(path)


def test_a_graph_that_capture_broke_is_called_by_the_users_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path / "mine.onnx", [CONVOLUTION, helper.make_node("Relu", ["c"], ["y"])], 15, [2, 3, 6, 6], {"w": WEIGHT}
    )

    def torn(model: object, path: Path) -> None:
        proto = onnx.load(tmp_path / "mine.onnx")
        proto.graph.node[1].input[0] = "nowhere"
        onnx.save(proto, path)

    monkeypatch.setattr(capturing, "write_model", torn)
    with pytest.raises(InputError, match=r"mine\.onnx became a graph that is not valid") as raised:
        capture(load_source(str(path)), 20, tmp_path / "hidden.onnx", {})
    assert "hidden.onnx" not in str(raised.value)


def test_a_file_of_a_later_ir_version_than_its_opset_needs_is_read_by_older_runtimes(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", RECTIFIED, 17, ["batch", 3, 8, 8], {"w": WEIGHT})
    model = onnx.load(path)
    model.ir_version = 14  # onnxruntime 1.31 refuses it by the number alone
    onnx.save(model, path)
    proven(path)
    assert onnx.load(tmp_path / "model.onnx").ir_version == 8


def test_a_file_without_inputs_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.ones(3, np.float32)))],
        "still",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "still.onnx")
    with pytest.raises(InputError, match="takes no inputs"):
        load_source(str(tmp_path / "still.onnx"))


@pytest.mark.parametrize("operator", ["ReduceL1", "ReduceLogSum", "ReduceLogSumExp"])
@pytest.mark.parametrize("opset", [11, 17])
def test_axes_that_openvino_overlooks_become_an_input(operator: str, opset: int, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    nodes = [
        CONVOLUTION,
        helper.make_node("Exp", ["c"], ["e"]),
        helper.make_node(operator, ["e"], ["n"], axes=[1], keepdims=1),
        helper.make_node("Div", ["e", "n"], ["y"]),
    ]
    proven(write(tmp_path / "net.onnx", nodes, opset, [2, 3, 8, 8], {"w": WEIGHT / 8}))
    batch = RNG.random((2, 3, 8, 8)).astype(np.float32)
    engine = openvino.Core().compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert np.allclose(engine({"x": batch})[0], session.run(None, {"x": batch})[0], rtol=1e-4)


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", RECTIFIED, 17, [2, 3, 8, 8], {"w": WEIGHT}, outputs=["y", "x"])
    with pytest.raises(InputError, match="gives back its input x"):
        load_source(str(path))


def test_a_file_that_fails_by_itself_is_not_called_ours(tmp_path: Path) -> None:
    nodes = [CONVOLUTION, helper.make_node("Reshape", ["c", "sizes"], ["y"])]
    path = write(tmp_path / "net.onnx", nodes, 17, ["batch", 3, 8, 8], {"w": WEIGHT, "sizes": np.array([2, 8, 8, 8])})
    with pytest.raises(InputError, match="The model fails on inputs of the shapes x") as refused:
        proven(path)
    assert "captured graph" not in refused.value.message and "edgepress.errors" not in refused.value.message
    assert "--axis" in str(refused.value.hint)


def test_a_file_whose_meaning_the_converter_changes_is_not_told_of_a_forward(tmp_path: Path) -> None:
    """Outside of training the mask of Dropout was all zeros once, and is all ones now."""
    nodes = [CONVOLUTION, helper.make_node("Dropout", ["c"], ["d", "mask"]), helper.make_node("Relu", ["d"], ["y"])]
    path = write(tmp_path / "net.onnx", nodes, 10, [2, 3, 8, 8], {"w": WEIGHT}, outputs=["y", "mask"])
    model = onnx.load(path)
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.BOOL
    onnx.save(model, path)
    with pytest.raises(VerificationError, match="'mask'") as refused:
        proven(path)
    assert "export it at another opset" in str(refused.value.hint) and "forward" not in str(refused.value.hint)


@pytest.mark.parametrize("opset", [11, 13])
def test_a_resize_to_sizes_with_scales_that_are_none_is_exported_in_halves(opset: int, tmp_path: Path) -> None:
    """torch wrote it so at opset 11; in fp16 a Cast hid from onnxruntime that there are none."""
    nodes = [CONVOLUTION, helper.make_node("Resize", ["c", "roi", "scales", "sizes"], ["y"], mode="nearest")]
    none = np.zeros(0, np.float32)
    held = {"w": WEIGHT, "roi": none, "scales": none, "sizes": np.array([2, 8, 12, 10])}
    path = write(tmp_path / "old.onnx", nodes, opset, [2, 3, 6, 5], held)
    proven(path)
    data = [{"x": RNG.standard_normal((2, 3, 6, 5)).astype(np.float32)} for _ in range(4)]
    bundle = export(path, target="jetson", precision="fp16", calibration=data, measure=False, output=tmp_path)
    (resize,) = (node for node in onnx.load(bundle.graph.path).graph.node if node.op_type == "Resize")
    assert resize.input[2] == "" and resize.input[3]


@pytest.mark.parametrize(("opset", "entries"), [(18, 4), (20, 4), (21, 8), (22, 8)])
def test_a_group_norm_of_either_meaning_is_what_it_was(tmp_path: Path, opset: int, entries: int) -> None:
    """Before 21 it has a scale for each group and is deprecated in its own opset, which runtimes take all the same."""
    rng = np.random.default_rng(3)
    constants = {"w": WEIGHT, "s": rng.uniform(0.5, 2, entries), "b": rng.normal(size=entries)}
    norm = helper.make_node("GroupNormalization", ["c", "s", "b"], ["y"], "norm", num_groups=4, epsilon=1e-2)
    path = write(
        tmp_path / "norm.onnx",
        [CONVOLUTION, norm],
        opset,
        ["batch", 3, 8, "width"],
        {name: array.astype(np.float32) for name, array in constants.items()},
    )
    model = onnx.load(path)
    model.ir_version = 10
    onnx.save(model, path)
    proven(path)
