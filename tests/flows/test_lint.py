"""`edgepress lint` as its user meets it, and what an export makes of the same rules."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from ._flow import Cli


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A Shrink, which the TensorRT of JetPack 4 does not have and everyone else does."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy")
    made = helper.make_graph([helper.make_node("Shrink", ["x"], ["y"], "shrinking")], "g", [x], [y])
    path = tmp_path / "shrinks.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_errors_are_code_1_and_name_node_rule_remedy_and_source(cli: Cli, graph: Path) -> None:
    ran = cli("lint", graph, "-t", "jetson-nano,server-cpu", "--axis", "batch=1:2:8")
    assert ran.code == 1
    for said in (
        "shrinks.onnx for jetson-nano (jetpack-4.6): 1 error, 0 warnings",
        "error [operators] shrinking (Shrink): the parser of jetpack-4.6 has no Shrink.",
        "do: Replace it in the model",
        "source: Documented: versions, NVIDIA JetPack 4.6 release",
        "shrinks.onnx for server-cpu (onnxruntime-1.31): 0 errors, 0 warnings",
        "Asked as well: the parser of onnxruntime",
    ):
        assert said in ran.out
    assert "shrinks.onnx will fail or be wrong on jetson-nano (1 error)." in ran.err


def test_a_program_reads_every_finding(cli: Cli, graph: Path) -> None:
    ran = cli("lint", graph, "-t", "jetson-nano", "--json")
    (report,) = json.loads(ran.out)
    assert (ran.code, report["errors"], report["warnings"]) == (1, 1, 1)
    assert [(one["rule"], one["severity"]) for one in report["findings"]] == [
        ("operators", "error"),
        ("shapes", "warning"),
    ]
    assert set(report["findings"][0]) == {"severity", "node", "operator", "said", "remedy", "source", "rule"}


def test_a_range_of_no_free_axis_is_an_error(cli: Cli, graph: Path) -> None:
    ran = cli("lint", graph, "-t", "server-cpu", "--axis", "bach=1:2:8")
    ran.failed(1, "--axis names bach; the free axes are batch.")


def test_without_errors_it_is_code_0(cli: Cli, graph: Path) -> None:
    ran = cli("lint", graph, "-t", "server-cpu", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shrinks.onnx"], "shrinks.onnx comes without a target, as it is no bundle"),
        (["nowhere"], "nowhere does not exist"),
        (["nothing.onnx", "-t", "cpu"], "nothing.onnx does not exist"),
        (["torn.onnx", "-t", "cpu"], "torn.onnx"),
    ],
)
def test_what_cannot_be_read_is_one_message(cli: Cli, graph: Path, words: list[str], said: str) -> None:
    (graph.parent / "torn.onnx").write_bytes(graph.read_bytes()[:40])
    ran = cli("lint", *words, cwd=graph.parent)
    assert ran.code == 1
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_an_export_refuses_what_lint_calls_an_error(cli: Cli, graph: Path) -> None:
    ran = cli("export", graph, "-t", "jetson-nano", "--no-measure", cwd=graph.parent)
    assert ran.code == 1
    assert "shrinking: the parser of jetpack-4.6 has no Shrink." in ran.err
    assert "(rules of `edgepress lint`)" in ran.err
    assert not (graph.parent / "dist" / "shrinks-jetson-nano").exists()
