"""A float16 graph at which onnxruntime's layouts for x86 end the process: each way to open it is tried in a child."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends._onnxfile import holds_float16

HALF = TensorProto.FLOAT16
OPENED = {
    "the file as it is": """
from edgepress.backends.places.reference import Reference
for kernels in ("exact", "float", "plain", "as written"):
    with Reference().values(path, ["m"], kernels=kernels) as run:
        print(sorted(run({"x": np.ones((4, 5, 6), np.float32)})))
""",
    "an engine": """
from edgepress.backends.onnxruntime import OnnxRuntime
from edgepress.backends.places import Local
from edgepress.exporter.graphs.files import read_graph
from edgepress.profiles.device.target import load_target
runtime, graph, ios = OnnxRuntime(), read_graph(path), load_target("ios")
assert not runtime.check(graph, ios)
for options in ({}, {"format": "ort", "optimize_for": "amd64"}):
    out = path.parent / f"engine{len(options)}"
    out.mkdir()
    engine = runtime.compile(graph, replace(ios, options=options), out, "fp16")
    for integers in ("fast", "exact", "none"):
        told = replace(engine, target=replace(ios, options={"integers": integers}))
        with runtime.open(told) as session:
            print(sorted(session({"x": np.ones((4, 5, 6), np.float32)})))
    runtime.inspect(engine, {"x": np.ones((4, 5, 6), np.float32)})
""",
}
BEGUN = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
path = Path(sys.argv[1])
"""


def saved(path: Path, precision: str) -> Path:
    """A product behind a Transpose of leading axes, as of a layer whose first axis is time."""
    half = precision == "float16"
    weights = np.random.default_rng(1).normal(size=(6, 8)).astype(precision)
    nodes = [
        helper.make_node("Cast", ["x"], ["x_half"], to=HALF)
        if half
        else helper.make_node("Identity", ["x"], ["x_half"]),
        helper.make_node("Transpose", ["x_half"], ["t"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["t", "w"], ["m"]),
        helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 5, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 4, 8])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.parametrize("what", OPENED)
def test_no_way_to_open_it_ends_the_process(what: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "half.onnx", "float16")
    child = [sys.executable, "-c", BEGUN + OPENED[what], str(path)]
    ran = subprocess.run(child, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, (ran.returncode, ran.stderr[-500:])
    assert "y" in ran.stdout


def test_it_is_exported_to_a_phone(tmp_path: Path) -> None:
    """In a process of its own as well: the export ended with a signal."""
    path = saved(tmp_path / "net.onnx", "float32")
    words = f"edgepress.export({str(path)!r}, target='ios', precision='fp16', measure=False, output={str(tmp_path)!r})"
    child = [sys.executable, "-c", f"import edgepress\n{words}"]
    ran = subprocess.run(child, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, (ran.returncode, ran.stderr[-500:])
    assert (tmp_path / "net-ios" / "manifest.json").exists()


def test_float16_is_seen_wherever_a_file_may_hold_it(tmp_path: Path) -> None:
    assert holds_float16(saved(tmp_path / "half.onnx", "float16"))
    assert not holds_float16(saved(tmp_path / "float.onnx", "float32"))
    constant = numpy_helper.from_array(np.ones(2, np.float16))
    inner = [helper.make_node("Constant", [], ["c"], value=constant)]
    branch = helper.make_graph(inner, "branch", [], [helper.make_tensor_value_info("c", HALF, [2])])
    for nodes, kind in (
        ([helper.make_node("Cast", ["x"], ["y"], to=HALF)], TensorProto.FLOAT),
        ([helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)], TensorProto.FLOAT),
        ([helper.make_node("Relu", ["x"], ["y"])], HALF),
    ):
        graph = helper.make_graph(
            nodes, "g",
            [helper.make_tensor_value_info("x", kind, [2]),
             helper.make_tensor_value_info("flag", TensorProto.BOOL, [])],
            [helper.make_tensor_value_info("y", HALF, [2])],
        )  # fmt: skip
        onnx.save(helper.make_model(graph), tmp_path / "one.onnx")
        assert holds_float16(tmp_path / "one.onnx")
    function = helper.make_function("own", "Half", ["a"], ["b"], [helper.make_node("Cast", ["a"], ["b"], to=HALF)],
                                    [helper.make_opsetid("", 18)])  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Half", ["x"], ["y"], domain="own")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])], [helper.make_tensor_value_info("y", HALF, [2])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, functions=[function]), tmp_path / "one.onnx")
    assert holds_float16(tmp_path / "one.onnx")
