from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress import export
from edgepress.backends.base import AxisRange, TensorSpec
from edgepress.errors import InputError
from edgepress.exporter.graphs.files import free_axes, read_graph, weight_bytes, write_model

WEIGHT = np.arange(4000, dtype=np.float32).reshape(40, 100)


def linear() -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 40])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 100])
    weight = numpy_helper.from_array(WEIGHT, "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(linear(), path)
    return path


@pytest.fixture
def external(tmp_path: Path) -> Path:
    (tmp_path / "large").mkdir()
    path = tmp_path / "large" / "m.onnx"
    write_model(ir.from_proto(linear()), path, limit=100)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_graph(path)
    return str(caught.value)


def test_a_graph_says_what_it_takes_and_gives(path: Path) -> None:
    axes = {"batch": AxisRange(smallest=1, usual=2, largest=8)}
    graph = read_graph(path, axes)
    assert graph.inputs == (TensorSpec(name="x", dtype="float32", shape=("batch", 40)),)
    assert graph.outputs == (TensorSpec(name="y", dtype="float32", shape=("batch", 100)),)
    assert (graph.opset, graph.axes) == (17, axes)
    assert free_axes(graph.inputs) == {"x": {0: "batch"}}
    assert weight_bytes(path) == WEIGHT.nbytes


def test_initializers_listed_as_inputs_and_unnamed_axes(path: Path) -> None:
    model = linear()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [40, 100]))
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    onnx.save(model, path)
    assert read_graph(path).inputs == (TensorSpec(name="x", dtype="float32", shape=("x_axis0", 40)),)


def test_large_weights_go_beside_the_file_and_come_back(external: Path) -> None:
    assert sorted(p.name for p in external.parent.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert external.stat().st_size < 1000
    assert weight_bytes(external) == WEIGHT.nbytes
    assert np.array_equal(numpy_helper.to_array(onnx.load(external).graph.initializer[0]), WEIGHT)


def test_writing_is_deterministic_and_embeds_small_weights(external: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    for path in (first, second):
        write_model(ir.load(external), path)
    assert first.read_bytes() == second.read_bytes()
    assert read_graph(first).digest == read_graph(second).digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "large"]


def test_the_digest_covers_the_external_data(external: Path) -> None:
    before = read_graph(external).digest
    data = external.with_name("m.onnx.data")
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\0")
    assert read_graph(external).digest != before


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(path: Path, kept: float) -> None:
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert "is not a" in refused(path)


@pytest.mark.parametrize("content", [b"def model(): pass\n", b"\x7fELF\x02\x01\x01\0\0\0", bytes(range(256)) * 40])
def test_a_file_that_is_not_onnx_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "is not a" in refused(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "m.onnx")


def test_an_invalid_graph_is_refused(path: Path) -> None:
    model = linear()
    model.graph.node[0].input[1] = "nowhere"
    onnx.save(model, path)
    assert "is not a valid ONNX model" in refused(path)


def test_missing_and_truncated_external_data_are_refused(external: Path) -> None:
    data = external.with_name("m.onnx.data")
    data.write_bytes(data.read_bytes()[:-1])
    assert "needs 16000 bytes of 'm.onnx.data', which has 15999" in refused(external)
    data.unlink()
    assert "which is not in" in refused(external)


def test_a_word_on_external_data_that_onnx_does_not_know_is_refused(external: Path) -> None:
    """It is passed over by the library: where a damaged `offset` is one, the first bytes of the file would be read."""
    model = onnx.load(external, load_external_data=False)
    next(entry for entry in model.graph.initializer[0].external_data if entry.key == "offset").key = "off"
    onnx.save(model, external)
    assert "says 'off' of weights in another file; ONNX knows location, offset" in refused(external)


@pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "/etc/hostname"])
def test_external_data_outside_the_directory_are_refused(external: Path, location: str) -> None:
    (external.parents[1] / "secret.bin").write_bytes(bytes(WEIGHT.nbytes))
    relocate(external, location)
    assert "outside its directory" in refused(external)


def test_a_symlink_out_of_the_directory_is_refused(external: Path) -> None:
    outside = external.parents[1] / "secret.bin"
    os.replace(external.with_name("m.onnx.data"), outside)
    external.with_name("m.onnx.data").symlink_to(outside)
    assert "outside its directory" in refused(external)


def relocate(path: Path, location: str) -> None:
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())


def convolution(path: Path, *, shaped: bool, typed: bool = True) -> Path:
    """A file that does not say the shape of its output, or not its type either, or of its input."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 1, 1], [0.5] * 12)
    sizes = ["batch", 3, 8, 8] if shaped else None
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None) if typed else onnx.ValueInfoProto(name="y")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Flatten", ["c"], ["y"])],
        "unshaped", [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)], [output], [weight],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("typed", [True, False])
def test_an_output_without_a_shape_has_the_one_that_follows(tmp_path: Path, typed: bool) -> None:
    path = convolution(tmp_path / "m.onnx", shaped=True, typed=typed)
    (output,) = read_graph(path).outputs
    assert (output.dtype, len(output.shape), output.shape[1]) == ("float32", 2, 256)
    bundle = export(path, target="server-cpu", precision="fp32", measure=False, output=tmp_path)
    assert len(bundle.manifest.model.outputs[0].shape) == 2


def test_an_input_without_a_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="input 'x' has no shape") as refused:
        read_graph(convolution(tmp_path / "m.onnx", shaped=False))
    assert "names for free axes" in str(refused.value.hint)
