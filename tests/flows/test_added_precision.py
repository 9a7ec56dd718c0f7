"""Precisions of another package: a file and a registration, and nothing of ours edited."""

from __future__ import annotations

import json
import os
from pathlib import Path

import onnx
import pytest

from edgepress.profiles.device.target import load_target

from ._flow import Cli, read

FILE = """
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.precision import Precision

half = Precision(name="half", title="half", rank=1, integer=False, storage="float16", needs_data=False, least_db=40.0)
loose8 = Precision(
    name="loose8", title="loose int8", rank=4, integer=True, storage="float32", needs_data=True, least_db=5.0,
    weights=Grid(bits=8, signed=True, symmetric=True, granularity="channel"),
)
"""


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    """An environment in which another package is installed, and a target of the user's that has its precisions."""
    site = tmp_path / "site"
    metadata = site / "another-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "another_precisions.py").write_text(FILE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    points = "\n".join(f"{name} = another_precisions:{name}" for name in ("half", "loose8"))
    (metadata / "entry_points.txt").write_text(f"[edgepress.precisions]\n{points}\n")
    target = load_target("server-cpu")
    (tmp_path / "mine.toml").write_text(
        f'name = "mine"\ntitle = "mine"\narch = "{target.arch}"\nbackend = "{target.backend}"\n'
        'precisions = ["loose8", "half", "fp32"]\nscheme = "onnxruntime-x86"\n'
        f'toolchain = "{target.toolchain.name}"\n[options]\nformat = "onnx"\n'
    )
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))}


@pytest.mark.slow
def test_they_are_made_judged_shipped_and_verified_by_their_names(
    cli: Cli, small: Path, tmp_path: Path, package: dict[str, str]
) -> None:
    words = ("export", small, "-t", "mine.toml", "--no-measure")
    for name, least in (("loose8", 5.0), ("half", 40.0)):
        ran = cli(*words, "--precision", name, "-o", name, env=package)
        assert ran.code == 0, ran.err
        bundle = tmp_path / name / "small-mine"
        manifest = json.loads((bundle / "manifest.json").read_text())
        assert (manifest["engine"]["precision"], read(bundle)["precision"]) == (name, name)
        assert manifest["minimum_sqnr_db"] >= least
        assert f'precision = "{name}"' in (bundle / "recipe.toml").read_text()
        types = {tensor.data_type for tensor in onnx.load(bundle / "model.onnx").graph.initializer}
        assert (onnx.TensorProto.INT8 in types, onnx.TensorProto.FLOAT16 in types) == (name == "loose8", name == "half")
        assert cli("verify", bundle, env=package).code == 0
    # Nothing measured the two against each other, so the target's own order decides.
    ran = cli(*words, "-o", "auto", env=package)
    assert (ran.code, read(tmp_path / "auto" / "small-mine")["precision"]) == (0, "loose8")


def test_who_does_not_have_the_package_is_told_what_is_unknown(
    cli: Cli, small: Path, tmp_path: Path, package: dict[str, str]
) -> None:
    offered = cli("export", "--help", env=package).out
    assert "[auto|int4|int8|bf16|fp16|fp32|half|loose8]" in offered
    ran = cli("export", small, "-t", "mine.toml")
    ran.failed(1, "mine.toml: `precisions.0`", "'int4', 'int8', 'bf16', 'fp16' or 'fp32'")
    unknown = cli("export", small, "-t", "cpu", "--precision", "half")
    assert (unknown.code, "'half' is not one of 'auto', 'int4', 'int8', 'bf16'" in unknown.err) == (2, True)
