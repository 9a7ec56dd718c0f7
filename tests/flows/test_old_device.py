"""A device with JetPack 4 or 5, whose Python is too old for edgepress: `build.py` does its work over SSH.

The SSH server, the connection, the copies and the program are real. The Python there is this one, said to be 3.6;
TensorRT and its GPU are stand-ins, since neither is here (`tests/backends/_standin/`, `standin_cuda.c`).
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import edgepress
from edgepress.backends.places import place_at
from edgepress.backends.places.ssh.place import Ssh
from edgepress.errors import VerificationError
from edgepress.exporter.capture.golden import Golden

from . import _sshd
from ._flow import Cli, contents, read

pytest.importorskip("fabric", reason="needs fabric: pip install 'edgepress[ssh]'")
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

STANDINS = Path(__file__).parents[1] / "backends"


@pytest.fixture
def bundle(digits: dict[str, Path], tmp_path: Path) -> Path:
    """The int8 digits as a Jetson with JetPack 5 gets them, but for the architecture, which is this machine's."""
    root = Path(shutil.copytree(digits["jetson"], tmp_path / "digits"))
    manifest = read(root, "manifest.json")
    manifest["target"]["arch"] = platform.machine()
    manifest["target"]["toolchain"]["versions"]["tensorrt"] = "8.5.2"
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the device has: a module `tensorrt`, of the release in a file, and a library of a driver."""
    (there := tmp_path_factory.mktemp("jetpack") / "lib").mkdir()
    library = there / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, STANDINS / "standin_cuda.c"], check=True)
    (there / "tensorrt.py").write_text(
        f"import sys; sys.path.append({str(STANDINS)!r}); import _standin\n"
        "from pathlib import Path\n"
        "sys.modules[__name__] = _standin.module(Path(__file__).with_name('release').read_text())\n"
    )
    (there / "release").write_text("8.5")
    return there


@pytest.fixture(scope="module")
def server(there: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_sshd.Sshd]:
    server = _sshd.start(tmp_path_factory.mktemp("sshd"), PYTHONPATH=str(there), LD_LIBRARY_PATH=str(there))
    yield server
    server.stop()


@pytest.fixture
def board(server: _sshd.Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    place = place_at(server.address)
    assert isinstance(place, Ssh)
    told = {"python": [3, 6, 9], "packages": {"tensorrt": ["8.5.2.2", []]}}
    place.host.__dict__["about"] = {**place.host.about, **told}
    yield server.address
    place.close()


@pytest.mark.slow
def test_it_is_built_proven_and_measured_there(board: str, server: _sshd.Sshd, bundle: Path) -> None:
    built = edgepress.build_bundle(bundle, on=board)
    engine = built.engine
    assert engine is not None
    assert engine.path.name == "model.plan"
    assert [path.name for path in (bundle / "engine").iterdir()] == ["model.plan"]
    assert built.manifest.fallback is None, "both were measured"
    report = read(bundle)
    assert report["tools"] == {"tensorrt": "8.5.2.2"}
    assert any("by a program of its own: its Python is" in note for note in report["notes"])
    assert len(report["latency"]) == 2
    assert all(latency["samples"] > 0 for latency in report["latency"].values())
    assert "throttling" in report["before"]["absent"]
    assert not [gap for gap in report["missing"] if gap["about"] in ("latency", "run", "engine")]
    assert all(one["sqnr_db"] > 20 for one in report["parity"]["engine"].values())
    verified = edgepress.verify_bundle(bundle, on=board)
    assert verified.tool == "tensorrt 8.5.2.2"
    assert verified.on_device
    assert not list((server.device / "packages").iterdir()), "no wheel was brought"


@pytest.mark.slow
def test_an_engine_that_does_not_agree_is_no_bundle(board: str, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(bundle)
    load = Golden.load

    def off(directory: Path) -> Golden:
        found = load(directory)
        outputs = tuple({name: -np.asarray(array) for name, array in one.items()} for one in found.outputs)
        return Golden(feeds=found.feeds, outputs=outputs, graph=found.graph)

    monkeypatch.setattr(Golden, "load", off)
    with pytest.raises(VerificationError, match="does not reach"):
        edgepress.build_bundle(bundle, on=board)
    assert contents(bundle) == before


@pytest.mark.slow
def test_where_no_inspector_tells_the_kernels_nothing_is_said_of_them(board: str, there: Path, bundle: Path) -> None:
    """TensorRT 8.0, of JetPack 4.6: bindings in place of named tensors, and no inspector."""
    (there / "release").write_text("8.0")
    try:
        edgepress.build_bundle(bundle, on=board)
    finally:
        (there / "release").write_text("8.5")
    report = read(bundle)
    assert report["coverage"] is None
    if report["precision"] == "int8":
        assert "int8 coverage was not read: this runtime does not tell what it runs." in [
            gap["why"] for gap in report["missing"]
        ]
    assert all(one["sqnr_db"] > 20 for one in report["parity"]["engine"].values())


DOUBLE = """
import torch

def model():
    class Double(torch.nn.Module):
        def forward(self, x):
            return x + x
    return Double().eval()

def inputs():
    return {"x": torch.arange(6.0).reshape(2, 3) / 7}
"""
BENCH = f"""
name = "bench"
title = "A machine with JetPack 4"
arch = "{platform.machine()}"
backend = "tensorrt"
precisions = ["fp32"]
toolchain = "jetpack-4.6"
"""


def _old_python() -> str:
    """One that edgepress does not run on; empty where none is in PATH."""
    for minor in (6, 7, 8, 9):
        path = shutil.which(f"python3.{minor}")
        said = path and subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout
        if path and (said or "").startswith(f"Python 3.{minor}."):
            return path
    return ""


@pytest.mark.slow
@pytest.mark.skipif(not _old_python(), reason="no Python before 3.10 is in PATH")
def test_a_python_that_is_really_old_does_all_of_it(
    forked: Cli, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper and the program on a Python without any package; the engine of the stand-in doubles its input."""
    (tmp_path / "double.py").write_text(DOUBLE)
    (tmp_path / "bench.toml").write_text(BENCH)
    words = ("export", "double.py", "-t", "bench.toml", "--no-measure", "-q", "-o", "out")
    ran = forked(*words, cwd=tmp_path, temporary=tmp_path / "temporary")
    assert ran.code == 0, ran.err
    bundle = tmp_path / "out" / "double-bench"
    names = [spec["name"] for side in ("inputs", "outputs") for spec in read(bundle, "manifest.json")["model"][side]]
    (packages := tmp_path / "packages").mkdir()
    shutil.copy(STANDINS / "doubling_tensorrt.py", packages / "tensorrt.py")
    (packages / "tensorrt-8.0.1.6.dist-info").mkdir()
    (packages / "tensorrt-8.0.1.6.dist-info" / "METADATA").write_text("Name: tensorrt\nVersion: 8.0.1.6\n")
    (tmp_path / "sshd").mkdir()
    device = {"PYTHONPATH": str(packages), "LD_LIBRARY_PATH": str(there), "DOUBLING_NAMES": ",".join(names)}
    server = _sshd.start(tmp_path / "sshd", **device)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    board = f"ssh://board?python={_old_python()}&directory={server.device}"
    try:
        built = edgepress.build_bundle(bundle, on=board)
        assert built.engine is not None
        assert built.engine.path.read_bytes() == b"plan"
        verified = edgepress.verify_bundle(bundle, on=board)
        assert (verified.tool, verified.on_device) == ("tensorrt 8.0.1.6", True)
        assert all(parity.max_abs == 0 for parity in verified.parity.values())
        assert "its Python is 3." in " ".join(read(bundle)["notes"])
        place_at(board).close()
        words = ("profile", bundle, "--on", board, "-q", "-o", "p.json")
        ran = forked(*words, cwd=tmp_path, temporary=tmp_path / "temporary", env=server.environment)
        assert ran.code == 0, ran.err
        found = read(tmp_path, "p.json")
        assert found["single_stream"][0]["samples"]
        assert all(0 < span < 600e9 for name in ("imported", "opened", "first") for span in found["cold_start"][name])
    finally:
        place_at(board).close()
        server.stop()
