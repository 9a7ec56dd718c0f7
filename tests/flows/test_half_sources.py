"""A float16 file as the source: a bundle's own, and one of onnxruntime's converter, whose nodes are out of order."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from ._flow import SMALL, Cli

FEED = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)


@pytest.fixture(scope="module")
def sources(forked: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ios.onnx` of a bundle for phones, `converted.onnx` of onnxruntime's converter, and data."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    directory = tmp_path_factory.mktemp("half")
    (directory / "small.py").write_text(SMALL)
    for target, precision in (("ios", "fp16"), ("rpi5", "fp32")):
        words = ("export", "small.py", "-t", target, "--precision", precision, "--no-measure", "-q", "-o", "out")
        ran = forked(*words, cwd=directory, temporary=directory.with_name("temporary"))
        assert ran.code == 0, ran.err
    shutil.copy(directory / "out" / "small-ios" / "model.onnx", directory / "ios.onnx")
    single = onnx.load(directory / "out" / "small-rpi5" / "model.onnx")
    onnx.save(convert_float_to_float16(single, keep_io_types=True), directory / "converted.onnx")
    np.savez(directory / "data.npz", input=FEED)
    return directory


def answered(path: Path) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options)
    return session.run(None, {session.get_inputs()[0].name: FEED})[0]


def decibels(found: np.ndarray, right: np.ndarray) -> float:
    return float(10 * np.log10((right**2).sum() / max(((found - right) ** 2).sum(), 1e-30)))


def test_the_converter_leaves_nodes_out_of_order(sources: Path) -> None:
    with pytest.raises(onnx.checker.ValidationError, match="topologically sorted"):
        onnx.checker.check_model(sources / "converted.onnx")


@pytest.mark.parametrize("source", ["ios", "converted"])
@pytest.mark.parametrize(
    ("precision", "targets", "least"),
    [("fp16", "ios", 80), ("fp32", "server-cpu,cpu", 60), ("int8", "server-cpu,cpu", 30)],
)
def test_bundles_of_a_float16_file_compute_what_it_does(
    cli: Cli, sources: Path, tmp_path: Path, source: str, precision: str, targets: str, least: float
) -> None:
    given = sources / f"{source}.onnx"
    words = ("-t", targets, "--precision", precision, "--calibration", sources / "data.npz")
    ran = cli("export", given, *words, "--no-measure", "-q")
    assert ran.code == 0, ran.err
    for target in targets.split(","):
        model = onnx.load(tmp_path / "dist" / f"{source}-{target}" / "model.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert decibels(answered(tmp_path / "dist" / f"{source}-{target}" / "model.onnx"), answered(given)) > least
        casts = [(node.input[0], node.attribute[0].i) for node in model.graph.node if node.op_type == "Cast"]
        assert len(casts) == len(set(casts)) == (2 if precision == "fp16" else 0)
        declared = [value.name for value in model.graph.value_info]
        assert len(declared) == len(set(declared))
