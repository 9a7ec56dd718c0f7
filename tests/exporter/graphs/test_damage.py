"""Damaged ONNX files: a message or a graph, never a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.errors import EdgepressError, InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.graphs.damage import damage_explained
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.graphs.names import free_name
from edgepress.exporter.sources import load_source

MUTANTS = 150


def small(opset: int) -> bytes:
    """A convolution, a normalization, a product: what the optimizer rewrites."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((4, 3, 3, 3)),
        "scale": np.ones(4),
        "bias": np.zeros(4),
        "mean": np.zeros(4),
        "var": np.ones(4),
        "g": rng.standard_normal((4, 2)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4, name="conv"),
        helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"], name="norm"),
        helper.make_node("Relu", ["n"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "g"], ["y"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(model.SerializeToString())


def mutated(data: bytes, seed: int) -> bytes:
    """Up to three bits flipped, a piece cut out, or a piece repeated."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    start, length = int(rng.integers(len(changed))), int(rng.integers(1, 20))
    if seed % 5 == 0:
        del changed[start : start + length]
    elif seed % 5 == 1:
        changed[start:start] = changed[start : start + length]
    return bytes(changed)


@pytest.mark.parametrize("opset", [12, 17])
def test_a_mutated_file_gives_a_graph_or_a_message(opset: int, tmp_path: Path) -> None:
    data = small(opset)
    refused = 0
    for seed in range(MUTANTS // 2):
        path = tmp_path / "mutant.onnx"
        path.write_bytes(mutated(data, seed))
        try:
            capture(load_source(str(path)), 20, tmp_path / "model.onnx", {})
        except EdgepressError as error:
            refused += 1
            assert str(tmp_path / "model.onnx") not in str(error), seed
            assert len(str(error)) < 1500, seed
    assert 10 < refused < MUTANTS // 2, "most mutations were meant to matter, and not all of them"


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "name.onnx"
    path.write_bytes(small(17).replace(b"relu", b"re\xffu"))
    with pytest.raises(InputError, match=r"name\.onnx .*not a"):
        capture(load_source(str(path)), 20, tmp_path / "model.onnx", {})


def test_a_name_inside_a_branch_that_is_no_text(tmp_path: Path) -> None:
    """Where names are told apart, before anything else reads them."""
    value = helper.make_tensor_value_info
    arm = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"], "inside")], "arm", [], [value("z", TensorProto.FLOAT, [1])]
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["is"], to=TensorProto.BOOL),
        helper.make_node("If", ["is"], ["y"], then_branch=arm, else_branch=arm),
    ]
    ends = [value("x", TensorProto.FLOAT, [1])], [value("y", TensorProto.FLOAT, [1])]
    model = helper.make_model(helper.make_graph(nodes, "branches", *ends), opset_imports=[helper.make_opsetid("", 17)])
    path = tmp_path / "name.onnx"
    path.write_bytes(model.SerializeToString().replace(b"inside", b"ins\xf2de"))
    with pytest.raises(InputError, match=r"b'ins.xf2de' is a name in it, and not UTF-8"):
        load_source(str(path))


def test_what_only_people_read_may_be_no_text(tmp_path: Path) -> None:
    model = onnx.load_from_string(small(17))
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = model.producer_name = "Gerat"
    path = tmp_path / "described.onnx"
    path.write_bytes(model.SerializeToString().replace(b"Gerat", b"Ger\xe4t"))
    capture(load_source(str(path)), 20, tmp_path / "model.onnx", {})


def test_a_fault_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a valid ONNX model"), damage_explained(tmp_path / "model.onnx"):
        onnx.load_model_from_string(b"no")
    with pytest.raises(TypeError), damage_explained(tmp_path / "model.onnx"):
        free_name("name", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.onnx"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    words = "Is a directory" if kind == "folder" else "no regular file"
    for read in (read_graph, lambda given: load_source(str(given))):
        with pytest.raises(InputError, match=f"model.onnx cannot be read: .*{words}"):
            read(path)


def test_a_file_beyond_what_a_message_can_be_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(InputError, match="it has 3221 MB, where 2147 MB are the most"):
        read_graph(tmp_path / "model.onnx")


def test_a_graph_that_is_nested_without_end_is_one_message(tmp_path: Path) -> None:
    body = b""
    for _ in range(2000):  # GraphProto.node, NodeProto.attribute, AttributeProto.g
        for key in (b"\x32", b"\x2a", b"\x0a"):
            size = len(body)
            body = key + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + body
    size = len(body)
    head = b"\x08\x08\x42\x02\x10\x11\x3a" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    (tmp_path / "model.onnx").write_bytes(head + body)
    with pytest.raises(InputError, match="is not an ONNX model"):
        read_graph(tmp_path / "model.onnx")
