"""ONNX files whose outputs are declared in a shape that they do not have: runtimes only warn, so they are taken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress
from edgepress.errors import VerificationError
from edgepress.exporter.bundle import pack

from ._flow import Cli

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        pytest.param(["N", 5], ["N", 5], marks=SLOW),
        ([1, 5], ["N", 5]),
        pytest.param(["N", 10], ["N", 5], marks=SLOW),
        pytest.param(["N"], ["y_axis0", 5], marks=SLOW),
    ],
    ids=str,
)
def test_a_bundle_tells_the_shape_that_outputs_have(
    cli: Cli, tmp_path: Path, declared: list[int | str], told: list[int | str]
) -> None:
    saved(tmp_path / "net.onnx", declared)
    made = cli("export", "net.onnx", "-t", "server-cpu", "--precision", "fp32", "--no-measure", "-o", "out")
    assert made.code == 0, made.err
    (output,) = json.loads((tmp_path / "out/net-server-cpu/manifest.json").read_text())["model"]["outputs"]
    assert output["shape"] == told
    for command in ("verify", "build"):
        ran = cli(command, "out/net-server-cpu")
        assert ran.code == 0, ran.err


def test_a_bundle_that_would_not_verify_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is planted: the manifest tells a shape that outputs do not have."""
    saved(tmp_path / "net.onnx", [1, 5])
    monkeypatch.setattr(pack, "as_seen", lambda specs, answers: tuple(replace(spec, shape=(1, 5)) for spec in specs))
    out = tmp_path / "out"
    with pytest.raises(VerificationError, match=r"would not verify: the golden outputs .* \(2, 5\)") as caught:
        edgepress.export(tmp_path / "net.onnx", target="server-cpu", precision="fp32", measure=False, output=out)
    assert "report this" in str(caught.value.hint).lower()
    assert str(out) not in str(caught.value)
    assert not out.exists()


def saved(path: Path, declared: list[int | str]) -> None:
    """`x`, whose batch is free, times a weight: `y` has five columns, whatever is declared."""
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32), "weight")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 8]), ("y", declared))
    ]
    node = helper.make_node("MatMul", ["x", "weight"], ["y"])
    graph = helper.make_graph([node], "net", ends[:1], ends[1:], [weight])
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
