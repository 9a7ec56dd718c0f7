"""A bundle that its own `build.py` wrote into on the device: `edgepress verify` takes what the record vouches for."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgepress.backends.registry import load_backend
from edgepress.errors import VerificationError
from edgepress.exporter.bundle.manifest import check_files, load_bundle

from ._flow import Cli


@pytest.fixture
def bundle(digits: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of one for a Jetson, whose engine is to be built there."""
    return Path(shutil.copytree(digits["jetson"], tmp_path / "digits-jetson"))


def built(bundle: Path, plan: bytes = b"a plan", graph: bytes | None = None) -> None:
    """What `build.py` leaves, as far as a machine without a GPU can tell."""
    of = (bundle / "model.onnx").read_bytes() if graph is None else graph
    record = {
        "plan": {"sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan)},
        "graph": {"sha256": hashlib.sha256(of).hexdigest()},
        "stand_in": False,
    }
    (bundle / "engine" / "model.plan").write_bytes(plan)
    (bundle / "engine" / "built.json").write_text(json.dumps(record))


def test_an_engine_that_was_built_there_is_the_one_that_is_verified(bundle: Path, cli: Cli) -> None:
    """TensorRT is not here, so that it ends there; before, the bundle was called damaged."""
    assert load_bundle(bundle).built_there is None
    built(bundle)
    engine = load_bundle(bundle).built_there
    assert engine is not None
    assert (engine.path, engine.backend) == (bundle / "engine" / "model.plan", "tensorrt")
    if not load_backend("tensorrt").available().run:
        cli("verify", bundle).failed(5, "files are intact, but tensorrt cannot run on this machine")


@pytest.mark.parametrize("what", ["plan", "graph", "record", "older", "alone"])
def test_one_that_its_record_does_not_vouch_for_is_not(bundle: Path, cli: Cli, what: str) -> None:
    built(bundle, graph=b"another" if what == "graph" else None)
    record = bundle / "engine" / "built.json"
    if what == "plan":
        (bundle / "engine" / "model.plan").write_bytes(b"other bytes")
    elif what == "record":
        record.write_text("{")
    elif what == "older":
        record.write_text(json.dumps({"plan": json.loads(record.read_text())["plan"]}))
    elif what == "alone":
        record.unlink()
    said = {
        "plan": "engine/model.plan was changed since it was built there",
        "graph": "engine/model.plan was built there of another graph",
        "record": "engine/model.plan is not vouched for by its record",
        "older": "engine/model.plan is not vouched for by its record",
        "alone": "engine/model.plan is not in the manifest",
    }
    cli("verify", bundle).failed(4, said[what])


def test_nothing_but_verify_and_build_takes_it(bundle: Path) -> None:
    """A package for other devices has no engine that no manifest names."""
    built(bundle)
    assert check_files(load_bundle(bundle), made_there=True) == check_files_of(bundle)
    with pytest.raises(VerificationError, match=r"engine/built\.json is not in the manifest"):
        check_files(load_bundle(bundle))


def check_files_of(bundle: Path) -> int:
    manifest = load_bundle(bundle).manifest
    return len(manifest.files) + len(manifest.measured.files)


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed")
def test_what_the_program_itself_writes_is_taken(bundle: Path, cli: Cli) -> None:
    """By TensorRT-RTX, whose engine is none of TensorRT's and is not run."""
    command = [sys.executable, str(bundle / "engine" / "build.py"), "--stand-in"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert (bundle / "engine" / "stand-in.model.plan").stat().st_size > 1000
    cli("verify", bundle).failed(5, "files are intact", "not built here")
