"""What is right and still worth a word: outputs that never change, defaults that are fixed, a parser that stands in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper, save

import edgepress
from edgepress.backends.registry import load_backend
from edgepress.errors import RefusedError

WEIGHT = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
PRODUCT = helper.make_node("MatMul", ["x", "w"], ["m"])
needs_rtx = pytest.mark.skipif(not load_backend("tensorrt-rtx").available().compile, reason="needs tensorrt-rtx")


def exported(
    path: Path, nodes: Sequence[NodeProto], outputs: dict[str, Any], target: str, more: Sequence[str] = ()
) -> dict[str, str]:
    """The sentences on what is missing, by what they are about, of a model of one product."""
    initializers = [numpy_helper.from_array(WEIGHT, "w"), *(numpy_helper.from_array(WEIGHT[0], name) for name in more)]
    floats = [("x", ["batch", 16]), *((name, [8]) for name in more)]
    graph = helper.make_graph(
        [PRODUCT, *nodes],
        "odd",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in floats],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, path / "odd.onnx")
    bundle = edgepress.export(str(path / "odd.onnx"), target=target, measure=False, output=path / "out")
    gaps = json.loads((bundle.path / "report.json").read_text())["missing"]
    return {f"{gap['about']} {gap['subject']}".strip(): gap["why"] for gap in gaps}


FLOAT = (TensorProto.FLOAT, ["batch", 8])


def test_an_output_that_never_changes_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["m"], ["y"]), helper.make_node("Sub", ["m", "m"], ["nothing"])]
    missing = exported(tmp_path, nodes, {"y": FLOAT, "nothing": FLOAT}, "server-cpu")
    assert "'nothing' is the same for all inputs" in missing["other constant nothing"]
    assert "other constant y" not in missing


def test_a_default_that_could_be_overridden_is_said_to_be_fixed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["m", "scale"], ["y"])]
    missing = exported(tmp_path, nodes, {"y": FLOAT}, "server-cpu", more=["scale"])
    assert "'scale' has a default" in missing["other fixed scale"]
    assert not [about for about in missing if about.startswith("other constant")]


@needs_rtx
def test_an_operator_that_only_the_stand_in_lacks_is_not_refused(tmp_path: Path) -> None:
    nodes, outputs = [helper.make_node("NonZero", ["m"], ["y"])], {"y": (TensorProto.INT64, [2, "found"])}
    missing = exported(tmp_path, nodes, outputs, "jetson")
    assert "tensorrt-rtx, which stands in, has no NonZero; jetpack-6.2 has" in missing["parser"]
    with pytest.raises(RefusedError, match="no operator NonZero"):
        exported(tmp_path, nodes, outputs, "rtx")


@needs_rtx
def test_an_operator_that_nobody_has_is_refused_by_the_stand_in(tmp_path: Path) -> None:
    nodes = [helper.make_node("Unique", ["m"], ["y"], name="distinct")]
    with pytest.raises(RefusedError, match=r"distinct: TensorRT.* operator Unique"):
        exported(tmp_path, nodes, {"y": (TensorProto.FLOAT, ["found"])}, "jetson")
