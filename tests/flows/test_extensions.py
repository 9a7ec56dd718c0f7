"""A lift, a rung and a range method of another package: a file and a registration each, and nothing of ours edited."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ._flow import Cli

RANGE = """
from edgepress.calibration import loggrid

def deviations(seen):
    "Three root mean squares to either side."
    values, counts = loggrid.occupied(seen.histogram)
    reach = 3 * float(((values**2 * counts).sum() / counts.sum()) ** 0.5)
    return max(seen.minimum, -reach), min(seen.maximum, reach)
"""

LIFT = """
import numpy as np
from edgepress.exporter.graphs.values import add_constant, constant, drop_unused
from edgepress.exporter.quantization.lifts.lifted import Lifted

def lift(graph, placement, statistics, scheme):
    "Clip each weight at 2.5 standard deviations, for a finer step."
    for site in placement.weights:
        old = site.node.inputs[site.weight]
        weight = constant(old)
        reach = np.float32(2.5 * weight.std())
        site.node.replace_input_with(site.weight, add_constant(graph, "clipped", weight.clip(-reach, reach)))
        drop_unused(graph, old)
    return Lifted(note=f"{len(placement.weights)} weights of {scheme.weight}")
"""

RUNG = """
from edgepress.exporter.quantization.mixed_int8 import IntegerVersion
from edgepress.exporter.quantization.rungs.rung import Climbed, Cost, Rung

def climb(attempt):
    "Leave all layers but the first in float."
    first, *others = attempt.mixed.quantizer(attempt.base).placement.layers
    return Climbed(version=IntegerVersion(left=tuple(others)), said=f"{len(others)} in float")

RUNG = Rung(title="the first layer alone", cost=Cost.CALIBRATION, why_not=lambda attempt: "", climb=climb)
"""


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    """An environment in which another package is installed."""
    site = tmp_path / "site"
    metadata = site / "another-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "another_range.py").write_text(RANGE)
    (site / "another_lift.py").write_text(LIFT)
    (site / "another_rung.py").write_text(RUNG)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[edgepress.range_methods]\nthree-rms = another_range:deviations\n"
        "[edgepress.lifts]\nclip = another_lift:lift\nbroken = another_gone:lift\n"
        "[edgepress.rungs]\nfirst = another_rung:RUNG\n"
        "[edgepress.importances]\nlargest = another_gone:score\n"
    )
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))}


def arrays(bundle: Path) -> dict[str, np.ndarray]:
    model = onnx.load(bundle / "model.onnx")
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_a_recipe_uses_them_by_name(cli: Cli, small: Path, tmp_path: Path, package: dict[str, str]) -> None:
    (tmp_path / "recipe.toml").write_text('precision = "int8"\nranges = "three-rms"\nlifts = ["clip"]\n')
    words = ("export", small, "-t", "server-cpu", "--no-measure", "-o", "dist")
    ran = cli(*words, "--recipe", "recipe.toml", env=package)
    assert ran.code == 0, ran.err
    (bundle,) = (path for path in (tmp_path / "dist").iterdir() if path.is_dir())
    assert 'ranges = "three-rms"' in (bundle / "recipe.toml").read_text()
    report = (bundle / "report.json").read_text()
    assert re.search(r"Lift clip \(2 weights of int8( in 7 bits)? per channel\)", report)  # in 7 without VNNI
    assert json.loads(report)
    clipped = [name for name in arrays(bundle) if name.startswith("clipped") and name.endswith("_quantized")]
    assert len(clipped) == 2


def test_a_rung_is_climbed_and_told_of(cli: Cli, small: Path, tmp_path: Path, package: dict[str, str]) -> None:
    """Nothing is as near as was asked, so that FP32 ships, with what was tried before."""
    words = ("-t", "server-cpu", "--no-measure", "--min-sqnr", "90", "--rung", "first", "--no-lifts", "-o", "dist")
    ran = cli("export", small, *words, env=package)
    assert ran.code == 0, ran.err
    (path,) = (path for path in (tmp_path / "dist").iterdir() if path.is_dir())
    report = json.loads((path / "report.json").read_text())
    assert report["precision"] == "fp32"
    ground, first = report["ladder"]["steps"]
    assert (ground["name"], first["name"], first["said"]) == ("lifts", "first", "1 in float")
    assert first["left"] == 1 and first["sqnr_db"] > ground["sqnr_db"] and not first["holds"]


def test_the_command_line_offers_them_and_a_broken_one_says_so_when_asked_for(
    cli: Cli, small: Path, tmp_path: Path, package: dict[str, str]
) -> None:
    offered = cli("export", "--help", env=package).out
    assert "[auto|min-max|percentile|entropy|mse|three-rms]" in offered
    assert "[equalize|smooth|broken|clip|correct-bias|correct-means]" in offered
    assert "[auto|magnitude|taylor|batchnorm|largest]" in offered
    words = ("export", small, "-t", "server-cpu", "--precision", "int8", "--no-measure")
    cli(*words, "--lift", "broken", env=package).failed(5, "Lift 'broken' (another_gone:lift) does not import")
    unknown = cli(*words, "--lift", "broken")
    assert (unknown.code, "'broken' is not one of 'equalize'" in unknown.err) == (2, True)


FOUR = """
name = "four"
title = "Weights in 4 bits, activations in 16"
arch = "any"
backend = "onnxruntime"
precisions = ["int8", "fp32"]

[toolchain]
name = "own"
opset = 21
versions = { onnxruntime = "1.20" }
source = "a test"

[scheme]
name = "own"
activation = { bits = 16, signed = false, symmetric = false }
weight = { bits = 4, signed = true, symmetric = true, granularity = "block", block = 32 }
weight_storage = "integer"
bias = "float"
weighted = ["Conv", "Gemm", "MatMul"]
residual = "none"
source = "a test"
"""


def test_other_grids_are_data_of_a_users_target(cli: Cli, small: Path, tmp_path: Path) -> None:
    (tmp_path / "four.toml").write_text(FOUR)
    words = ("export", small, "-t", "four.toml", "--precision", "int8", "--no-measure", "-o", "dist")
    ran = cli(*words)
    assert ran.code == 0, ran.err
    (bundle,) = (path for path in (tmp_path / "dist").iterdir() if path.is_dir())
    kinds = {tensor.data_type for tensor in onnx.load(bundle / "model.onnx").graph.initializer}
    assert {onnx.TensorProto.INT4, onnx.TensorProto.UINT16} <= kinds
    assert cli("verify", bundle).code == 0
