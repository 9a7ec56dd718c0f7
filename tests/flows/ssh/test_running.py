"""The commands over a real OpenSSH server on loopback, and what goes wrong while they run.

What the device is, is this machine; that is enough for a connection, a copy, a process and a measurement. Nothing is
downloaded: the device's Python is this one, which has all that an engine needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgepress
from edgepress.backends.places import Local, place_at
from edgepress.backends.places.remote import EngineFailedError
from edgepress.backends.places.ssh.place import Ssh
from edgepress.errors import EdgepressError
from edgepress.exporter.capture.golden import Golden
from edgepress.profiles.device.target import Target

from .._flow import SMALL, Cli, Ran, contents, read
from .._said import one_message
from .._sshd import Sshd

pytest.importorskip("fabric", reason="needs fabric: pip install 'edgepress[ssh]'")


def test_a_bundle_is_proven_on_the_device_with_what_runs_there(board: str, server: Sshd, bundle: Path) -> None:
    found = edgepress.verify_bundle(bundle, on=board)
    assert found.on_device
    assert found.tool.startswith("onnxruntime ")
    assert all(parity.weakest_db > 20 for parity in found.parity.values())
    place = place_at(board)
    assert isinstance(place, Ssh)
    place.close()
    time.sleep(0.5)
    assert not [*(server.device / "jobs").iterdir()], "what was of this run alone is gone"
    kept = {file.name for file in (server.device / "files").iterdir()}
    engine = edgepress.load_bundle(bundle).engine
    assert engine is not None
    assert hashlib.sha256(engine.path.read_bytes()).hexdigest() in kept


def test_what_goes_there_and_comes_back_is_what_it_is_here(place: Ssh, bundle: Path, target: Target) -> None:
    engine, feed = edgepress.load_bundle(bundle).engine, Golden.load(bundle / "golden").feeds[0]
    assert engine is not None
    place.need(target)
    assert place.machine == Local().machine
    with place.open(engine, 1) as there, Local().open(engine, 1) as here:
        for shift in (0, 1, 2):
            shifted = {name: (array + shift).astype(array.dtype) for name, array in feed.items()}
            found, wanted = there(shifted), here(shifted)
            assert found.keys() == wanted.keys()
            assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_lint_asks_the_parser_of_the_device(server: Sshd, cli: Cli, tmp_path: Path) -> None:
    """Which has no operator of a package that nobody registered there."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy")
    nodes = [helper.make_node("Fancy", ["x"], ["y"], "fancy", domain="of.nobody")]
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("of.nobody", 1)]
    made = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=domains, ir_version=8)
    onnx.save(made, tmp_path / "fancy.onnx")
    ran = cli("lint", "fancy.onnx", "-t", "server-cpu", "--on", server.address, env=server.environment)
    assert ran.code == 1
    assert "error [parser] fancy: onnxruntime has no operator of.nobody:Fancy." in ran.out
    said = f"The parser of onnxruntime {version('onnxruntime')}, asked on ssh://board."
    assert f"source: {said}" in ran.out
    ran = cli("lint", "fancy.onnx", "-t", "cuda", "--on", server.address, env=server.environment)
    ran.failed(5, "tensorrt cannot run on ")


@pytest.mark.slow
def test_a_process_that_is_killed_or_hangs_is_said_and_leaves_nothing(place: Ssh, bundle: Path, target: Target) -> None:
    engine, feed = edgepress.load_bundle(bundle).engine, Golden.load(bundle / "golden").feeds[0]
    assert engine is not None
    place.need(target)
    with place.open(engine, 1) as session:
        os.kill(session._opened.remote.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(EngineFailedError) as killed:
            session(feed)
    one_message(killed.value, "was ended by SIGKILL", "ssh://board")
    with place.open(engine, 1) as session:
        session._opened.remote._timeout = 1.0  # type: ignore[attr-defined]
        pid = session._opened.remote.pid  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EngineFailedError) as silent:
            session(feed)
    one_message(silent.value, "gave no answer for 1 s and was stopped")
    assert not Path(f"/proc/{pid}").exists(), "the device has its core back"


@pytest.mark.slow
def test_a_bundle_is_built_there_and_stays_whole_where_that_fails(board: str, server: Sshd, bundle: Path) -> None:
    before = contents(bundle)
    place = place_at(board)
    assert isinstance(place, Ssh)
    place.need(edgepress.load_bundle(bundle).manifest.target)
    cutter = threading.Timer(1.0, server.cut)
    cutter.start()
    with pytest.raises(EdgepressError) as error:
        edgepress.build_bundle(bundle, on=board)
    cutter.join()
    one_message(error.value, "lost")
    assert contents(bundle) == before
    assert [entry.name for entry in bundle.parent.iterdir() if "small" in entry.name] == ["small"]
    place.close()
    built = edgepress.build_bundle(bundle, on=board)
    report = read(built.path, "report.json")
    assert report["latency"]["engine"]["p50"] > 0
    text = (bundle / "report.json").read_text() + (bundle / "manifest.json").read_text()
    assert "board" not in text, "an artifact names no machine"
    assert any(one["kind"] == "measured" for one in report["evidence"])
    assert edgepress.verify_bundle(bundle, on=board).on_device


@pytest.mark.slow
def test_profile_and_compare_on_the_device(
    server: Sshd, bundle: Path, command: Callable[..., Ran], tmp_path: Path
) -> None:
    env = server.environment
    words = ("profile", bundle, "--on", server.address, "-o", "p.json")
    ran = command(*words, cwd=tmp_path, env=env)
    assert ran.code == 0, ran.err
    found = read(tmp_path, "p.json")
    assert found["command"].startswith("edgepress profile") and "board" not in found["command"]
    events = found["cold_start"]
    assert all(0 < span < 600e9 for name in ("started", "imported", "opened", "first") for span in events[name])
    assert found["single_stream"][0]["samples"]
    compared = command("compare", bundle, bundle, "--seconds", "5", "--on", server.address, cwd=tmp_path, env=env)
    assert compared.code == 0, compared.err


@pytest.mark.slow
def test_an_export_judges_and_measures_there(server: Sshd, command: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SMALL)
    words = ("export", "small.py", "-t", "server-cpu", "--on", server.address, "-o", "out")
    ran = command(*words, cwd=tmp_path, env=server.environment)
    assert ran.code == 0, ran.err
    report = read(tmp_path / "out" / "small-server-cpu", "report.json")
    assert report["latency"]["engine"]["p50"] > 0
    assert "torch" not in report["latency"], "PyTorch is not on the device"
    assert report["command"].endswith("--on ssh://HOST -o out")
    assert {one["kind"] for one in report["evidence"] if one["about"] == "engine"} == {"built", "measured"}
    assert command("verify", "out/small-server-cpu", cwd=tmp_path).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tale-server-cpu", "tale-cpu"])
def test_a_decoder_is_proven_and_measured_there(
    server: Sshd, tale_bundles: Path, cli: Cli, tmp_path: Path, name: str
) -> None:
    """Its text, token by token, and its speed by the runtime's library, which is the device's own here."""
    bundle = shutil.copytree(tale_bundles / name, tmp_path / name)
    there = {"env": server.environment}
    proven = cli("verify", bundle, "--on", server.address, "--json", **there)
    assert proven.code == 0, proven.err
    found = json.loads(proven.out)
    assert found["on_device"]
    assert found["text"]["fp32"] <= found["most_text"]["fp32"]
    assert found["text"]["own"] <= found["most_text"]["own"]
    ran = cli("profile", bundle, "--on", server.address, "-o", "speed.json", "-q", **there)
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "speed.json").read_text())["language"]["speed"]
    ran = cli("compare", bundle, bundle, "--on", server.address, "-q", **there)
    assert ran.code == 0, ran.err
