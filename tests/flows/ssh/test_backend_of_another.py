"""A backend that another package has registered here, on a device that does not have it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .._flow import SMALL, Cli
from .._sshd import Sshd

pytest.importorskip("fabric", reason="needs fabric: pip install 'edgepress[ssh]'")


PLUGIN = """
from edgepress.backends.onnxruntime import OnnxRuntime


class Twin(OnnxRuntime):
    name = "twin"
"""
TWIN = """
name = "board"
title = "A board"
arch = "any"
backend = "twin"
precisions = ["fp32"]
toolchain = "onnxruntime-1.31"
"""


@pytest.fixture
def installed_here(tmp_path: Path) -> dict[str, str]:
    """An environment with a backend of another package, which the device does not have."""
    info = tmp_path / "site" / "twin-1.0.dist-info"
    (tmp_path / "site" / "twin_backend").mkdir(parents=True)
    (tmp_path / "site" / "twin_backend" / "__init__.py").write_text(PLUGIN)
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: twin\nVersion: 1.0\nRequires-Dist: edgepress\n")
    (info / "entry_points.txt").write_text("[edgepress.backends]\ntwin = twin_backend:Twin\n")
    (tmp_path / "board.toml").write_text(TWIN)
    (tmp_path / "small.py").write_text(SMALL)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(info.parent), os.environ.get("PYTHONPATH"))))}


@pytest.mark.slow
def test_a_backend_of_another_package_goes_along(
    server: Sshd, cli: Cli, tmp_path: Path, installed_here: dict[str, str]
) -> None:
    env = {**server.environment, **installed_here}
    ran = cli("export", "small.py", "-t", "board.toml", "--no-measure", "-q", env=env)
    assert ran.code == 0, ran.err
    bundle = tmp_path / "dist" / "small-board"
    ran = cli("verify", bundle, "--on", server.address, env=env)
    assert ran.code == 0, ran.err
    assert "brought" in ran.err and "twin-1.0" in ran.err
    assert cli("verify", bundle, "--on", server.address, env=env).code == 0
    ran = cli("build", bundle, "--on", server.address, "-q", env=env)
    assert ran.code == 0, ran.err
    (tmp_path / "site" / "twin_backend" / "kernels.so").write_bytes(b"of this machine")
    ran = cli("verify", bundle, "--on", server.address, env=env)
    ran.failed(5, "twin has compiled modules (kernels.so)", "Install twin and edgepress in the Python there")
