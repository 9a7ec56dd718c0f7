"""Files of newer opsets: what means the same is the same model under an older number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.errors import InputError
from edgepress.exporter.capture.as_given import as_given
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.graphs.files import read_model
from edgepress.exporter.graphs.opsets import at_an_older_opset, means_the_same, parted
from edgepress.exporter.sources import load_source

NEWEST = onnx.defs.onnx_opset_version()
IMAGE = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)


def write(path: Path, operators: Mapping[str, Mapping[str, object]], opset: int) -> Path:
    """A chain of operators of one input each."""
    nodes = [
        helper.make_node(operator, [f"v{at}" if at else "x"], [f"v{at + 1}"], operator.lower(), **given)
        for at, (operator, given) in enumerate(operators.items())
    ]
    nodes[-1].output[0] = "y"
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, [2, 4, 6, 6]), value("y", TensorProto.FLOAT, [None] * 4)]
    graph = helper.make_graph(nodes, "new", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
    return path


@pytest.mark.parametrize("opset", [22, 25, NEWEST])
def test_a_newer_opset_that_only_takes_more_types_is_captured(opset: int, tmp_path: Path) -> None:
    """onnxruntime does not read the newest number; the file is held against itself under an older one."""
    path = write(tmp_path / "new.onnx", {"Celu": {"alpha": 0.5}, "Sin": {}, "GlobalMaxPool": {}}, opset)
    source = load_source(str(path))
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    assert graph.opset == 20
    assert prove_capture(source, graph, seed=0)["y"].sqnr_db > 100


def test_an_opset_that_nobody_knows_yet_is_refused(tmp_path: Path) -> None:
    """A mutated file of opset 255 was exported by what its operators mean in the newest that is known."""
    path = write(tmp_path / "new.onnx", {"Sin": {}}, 255)
    with pytest.raises(InputError, match=f"opset 255 of the ONNX operators; onnx .* knows those up to {NEWEST}"):
        load_source(str(path))


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_a_pool_of_whole_windows_is_captured_from_a_newer_opset(operator: str, tmp_path: Path) -> None:
    """What its words say of `ceil_mode` is all that changed."""
    how = {"kernel_shape": [2, 2], "strides": [2, 2]}
    source = load_source(str(write(tmp_path / "new.onnx", {operator: how, "GlobalMaxPool": {}}, 23)))
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    assert graph.opset == 20
    assert prove_capture(source, graph, seed=0)["y"].sqnr_db > 100


def test_the_oldest_opset_of_the_same_meaning(tmp_path: Path) -> None:
    older = at_an_older_opset(write(tmp_path / "new.onnx", {"DepthToSpace": {"blocksize": 2}}, NEWEST), tmp_path)
    assert older is not None
    assert onnx.load(older).opset_import[0].version == 13
    assert as_given(older, tmp_path)({"x": IMAGE})["y"].shape == (2, 1, 12, 12)
    assert at_an_older_opset(older, tmp_path) is None


def test_operators_that_mean_another_thing_are_not_called_the_same() -> None:
    assert means_the_same("Relu", 28, 20)
    assert means_the_same("Conv", 22, 20)
    assert not means_the_same("GroupNormalization", 21, 20)
    assert not means_the_same("MaxPool", 22, 20)
    assert means_the_same("MaxPool", 22, 20, rounds_up=False)
    assert means_the_same("AveragePool", 23, 20, rounds_up=False)
    assert not means_the_same("AveragePool", 23, 18, rounds_up=False)
    assert not means_the_same("Attention", 23, 20)
    assert not means_the_same("Nonsense", 23, 20)


def test_what_an_older_opset_does_not_have_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "new.onnx", {"Relu": {}, "Swish": {"alpha": 1.0}}, 24)
    with pytest.raises(InputError, match=r"needs 20, and it has swish \(Swish, new in opset 24\)"):
        capture(load_source(str(path)), 20, tmp_path / "model.onnx", {})


def test_what_means_another_thing_is_named(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 4, 6, 6]) for name in "xy"]
    weights = [numpy_helper.from_array(np.ones(4, np.float32), name) for name in ("s", "b")]
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], "norm", num_groups=2)
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], weights), opset_imports=[helper.make_opsetid("", 21)]
    )
    onnx.save(model, tmp_path / "new.onnx")
    said = parted(read_model(tmp_path / "new.onnx"), 21, 20)
    assert said == "where norm (GroupNormalization) means another thing"
