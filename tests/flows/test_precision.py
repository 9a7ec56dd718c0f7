"""Precisions other than int8, and graphs that are quantized already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from ._flow import SMALL, Cli, read


@pytest.mark.parametrize("target", ["ios", "jetson-nano", "rtx"])
def test_fp16_halves_the_weights_and_stays_close(cli: Cli, small: Path, tmp_path: Path, target: str) -> None:
    ran = cli("export", small, "-t", target, "--precision", "fp16", "--no-measure")
    assert ran.code == 0, ran.err
    report = read(tmp_path / "dist" / f"small-{target}")
    # half, but for the few integers that say how to reshape
    assert report["sizes"]["weights"] < 0.52 * report["sizes"]["weights_fp32"]
    assert 40 < report["parity"]["engine"]["output"]["sqnr_db"] < 100
    model = onnx.load(tmp_path / "dist" / f"small-{target}" / "model.onnx")
    assert {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)} == {onnx.TensorProto.FLOAT}


def test_without_data_the_best_float_is_shipped_and_the_report_says_why(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "small.py"
    source.write_text(SMALL.partition("def batch")[0])
    ran = cli("export", source, "-t", "server-cpu", "--no-measure")
    assert ran.code == 0, ran.err
    assert "int8 was not made" in ran.out
    assert read(tmp_path / "dist" / "small-server-cpu")["precision"] == "fp32"
    cli("export", source, "-t", "server-cpu", "--precision", "int8", "--force").failed(1, "int8 needs calibration data")


def test_a_graph_that_is_quantized_already_is_refused(cli: Cli, small: Path, tmp_path: Path) -> None:
    assert cli("export", small, "-t", "server-cpu", "--no-measure").code == 0
    np.savez(tmp_path / "data.npz", input=np.zeros((4, 1, 8, 8), np.float32))
    quantized = tmp_path / "dist" / "small-server-cpu" / "model.onnx"
    ran = cli("export", quantized, "-t", "cpu", "--calibration", "data.npz")
    ran.failed(1, "already quantized", "(QuantizeLinear)", "Give the float model")
