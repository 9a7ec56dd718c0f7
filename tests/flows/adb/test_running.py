"""A bundle on a phone: proven, measured, exported and built there, and what becomes of its processes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import edgepress
from edgepress.backends.base import Engine
from edgepress.backends.places import Local, place_at
from edgepress.backends.places.adb.place import Adb
from edgepress.backends.places.remote import EngineFailedError
from edgepress.errors import InputError, UnservedError
from edgepress.exporter.capture.golden import Golden
from edgepress.exporter.graphs.files import read_graph
from edgepress.profiles.device.target import load_target

from .._flow import SMALL, Ran, read
from .._said import one_message
from ..test_loaders import HEADERS
from ._adbd import PROPERTIES, Phone

EVERY = ["bool", "float16", "float32", "float64"]
EVERY += [f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)]


def test_a_bundle_of_a_phone_is_proven_there(lasting: Phone, user: dict[str, str], digits: dict[str, Path]) -> None:
    phone = lasting
    found = edgepress.verify_bundle(digits["mobile"], on=phone.address)
    assert found.tool.endswith(" for Android x86_64")
    assert not found.on_device, "it is for ARM, and this phone is none"
    assert all(parity.weakest_db > 20 for parity in found.parity.values())
    place = place_at(phone.address)
    assert isinstance(place, Adb)
    place.close()
    assert not [*(phone.device / "jobs").iterdir()], "what was of this run alone is gone"
    kept = {file.name for file in (phone.device / "files").iterdir()}
    there = edgepress.load_bundle(digits["mobile"]).engine
    assert there is not None
    assert hashlib.sha256(there.path.read_bytes()).hexdigest() in kept
    phone.received = 0
    assert edgepress.verify_bundle(digits["mobile"], on=phone.address).tool == found.tool
    assert phone.received < 1 << 20, "library, runner and engine are there"
    place.close()


def test_it_gives_what_it_gives_here_and_says_on_what(place: Adb, engine: Engine, bundle: Path) -> None:
    place.need(engine.target)
    assert place.evidence(engine.target) == "measured"
    feeds = Golden.load(bundle / "golden").feeds
    with place.open(engine, 1) as there, Local().open(engine, 1) as here:
        for feed in feeds[:2]:
            found, wanted = there(feed), here(feed)
            assert found.keys() == wanted.keys()
            assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
        with pytest.raises(InputError, match=r"failed to run model\.ort"):
            there({name: array[..., :-1] for name, array in feeds[0].items()})
        assert there(feeds[0]).keys() == wanted.keys(), "it is there for the next one"
    layers, same = place.inspect(engine, feeds[0]), Local().inspect(engine, feeds[0])
    assert [replace(one, microseconds=None) for one in layers] == [replace(one, microseconds=None) for one in same]
    assert all(layer.microseconds is not None for layer in layers)
    assert str(place.machine).startswith("Acme Pane 7 (Acme A700), x86_64, ")
    assert place.machine.system.startswith("Android 15 (API 35), x86_64, Linux ")
    assert PROPERTIES["ro.serialno"] not in repr(place.machine)


def test_times_are_taken_there(place: Adb, engine: Engine, bundle: Path, tmp_path: Path) -> None:
    place.need(engine.target)
    feed = Golden.load(bundle / "golden").feeds[0]
    with place.opener(engine, feed, 1, tmp_path)() as arm:
        arm.ready()
        with place.waiting(arm.pid) as waiting:
            taken = arm.turn(2, 50)
        assert len(taken) == 50
        assert all(0 < sample < 1e9 for sample in taken)
        assert waiting.ran > 0
        order = ("spawned", "started", "imported", "opened", "first", "ready")
        events = [arm.events[name] for name in order]  # type: ignore[attr-defined]
        assert events == sorted(events)


def test_arrays_of_every_type_and_layout_come_back_as_they_went(place: Adb, tmp_path: Path) -> None:
    kinds = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in EVERY}
    names = {name: f'画像 "{name}" \\ $x' for name in EVERY}
    inputs = [helper.make_tensor_value_info(names[name], kind, ["batch", 3, None]) for name, kind in kinds.items()]
    outputs = [helper.make_tensor_value_info(f"{name} out", kind, ["batch", 3, None]) for name, kind in kinds.items()]
    nodes = [helper.make_node("Identity", [names[name]], [f"{name} out"]) for name in EVERY]
    graph = helper.make_graph(nodes, "same", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "same.onnx")
    target = load_target("server-cpu")
    place.need(target)
    (tmp_path / "engine").mkdir()
    engine = place.compile(read_graph(tmp_path / "same.onnx"), target, tmp_path / "engine", "fp32")
    draw = np.random.default_rng(0)
    with place.open(engine, 1) as session:
        for shape, order in (((2, 3, 4), "C"), ((2, 3, 4), "F"), ((1, 3, 0), "C")):
            values = {name: (draw.normal(size=shape) * 50).astype(name, order=order) for name in EVERY}  # type: ignore[call-overload]
            found = session({names[name]: array for name, array in values.items()})
            for name, array in values.items():
                assert found[f"{name} out"].dtype == array.dtype
                assert np.array_equal(found[f"{name} out"], array, equal_nan=array.dtype.kind == "f"), (name, order)


def test_no_decoder_is_brought_there(lasting: Phone, place: Adb, engine: Engine) -> None:
    (engine.path.parent / "genai_config.json").write_text("{}")
    with pytest.raises(UnservedError) as error:
        place.open(engine)
    one_message(error.value, "runs no decoders", lasting.serial)
    with pytest.raises(UnservedError, match="runs no decoders"):
        place.decode(engine)


def test_a_process_that_is_killed_or_hangs_is_said_and_leaves_nothing(
    lasting: Phone, place: Adb, engine: Engine, bundle: Path
) -> None:
    feed = Golden.load(bundle / "golden").feeds[0]
    place.need(engine.target)
    with place.open(engine, 1) as session:
        os.kill(session._opened.remote.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(EngineFailedError) as killed:
            session(feed)
    one_message(killed.value, "was ended by SIGKILL", lasting.serial, "where memory runs out")
    with place.open(engine, 1) as session:
        remote = session._opened.remote  # type: ignore[attr-defined]
        remote._timeout = 0.5
        os.kill(remote.pid, signal.SIGSTOP)
        with pytest.raises(EngineFailedError) as silent:
            session(feed)
    one_message(silent.value, "gave no answer for 0 s and was stopped")
    gone(remote.pid)
    with place.open(engine, 1) as session:
        pid = session._opened.remote.pid  # type: ignore[attr-defined]
        lasting.cut()
        with pytest.raises(UnservedError) as lost:
            session(feed)
    one_message(lost.value, "was lost")
    gone(pid)


def gone(pid: int) -> None:
    """The device has its core back."""
    for _ in range(100):
        status = Path(f"/proc/{pid}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} still runs")


@pytest.mark.slow
def test_profile_and_compare_on_the_phone(
    phone: Phone,
    bundle: Path,
    digits: dict[str, Path],
    command: Callable[..., Ran],
    user: dict[str, str],
    tmp_path: Path,
) -> None:
    refused = command("profile", digits["mobile"], "--on", phone.address, cwd=tmp_path, env=user)
    assert refused.code == 5
    assert "shows no latency: it is x86_64, android-arm64 aarch64" in refused.err
    ran = command("profile", bundle, "--on", phone.address, "-o", "p.json", "--threads", "1", cwd=tmp_path, env=user)
    assert ran.code == 0, ran.err
    found = read(tmp_path, "p.json")
    assert found["command"].startswith("edgepress profile") and phone.serial not in json.dumps(found)
    events = found["cold_start"]
    assert all(0 < span < 600e9 for name in ("started", "imported", "opened", "first") for span in events[name])
    assert len(found["single_stream"][0]["samples"]) >= 200
    assert found["memory"]["peak"] > found["memory"]["before"] > 0
    assert any(layer["integer"] for layer in found["layers"])
    assert len(found["offline"]) == 3
    assert found["setup"]["machine"]["processor"] == "Acme Pane 7 (Acme A700)"
    assert "energy" in found["missing"]
    compared = command("compare", bundle, bundle, "--seconds", "5", "--on", phone.address, cwd=tmp_path, env=user)
    assert compared.code == 0, compared.err


@pytest.mark.slow
def test_an_export_and_a_build_judge_and_measure_there(
    phone: Phone, command: Callable[..., Ran], user: dict[str, str], tmp_path: Path
) -> None:
    text = (Path(edgepress.__file__).parent / "profiles/device/targets/android-arm64.toml").read_text()
    text = text.replace('name = "android-arm64"', 'name = "pane"').replace('arch = "aarch64"', 'arch = "x86_64"')
    (tmp_path / "pane.toml").write_text(re.sub("^aliases.*\n", "", text, flags=re.M))
    (tmp_path / "small.py").write_text(SMALL)
    words = ("export", "small.py", "-t", "./pane.toml", "--on", phone.address, "-o", "out")
    ran = command(*words, cwd=tmp_path, env=user)
    assert ran.code == 0, ran.err
    report = read(tmp_path / "out" / "small-pane", "report.json")
    assert report["latency"]["engine"]["p50"] > 0
    assert "torch" not in report["latency"], "PyTorch is not on the phone"
    assert "--on adb://HOST" in report["command"] and phone.serial not in json.dumps(report)
    assert report["machine"]["processor"] == "Acme Pane 7 (Acme A700)"
    assert {one["kind"] for one in report["evidence"] if one["about"] == "engine"} == {"built", "measured"}
    assert command("verify", "out/small-pane", cwd=tmp_path, env=user).code == 0
    built = command("build", "out/small-pane", "--on", phone.address, cwd=tmp_path, env=user)
    assert built.code == 0, built.err
    again = read(tmp_path / "out" / "small-pane", "report.json")
    assert again["latency"]["engine"]["p50"] > 0
    assert again["machine"]["processor"] == "Acme Pane 7 (Acme A700)"
    other = command(*words[:-3], f"{phone.address}&provider=nnapi", "-o", "other", cwd=tmp_path, env=user)
    assert other.code == 5 and "has no NnapiExecutionProvider" in other.err


@pytest.mark.slow
def test_arm_code_of_the_runner_proves_a_bundle(
    phones: Callable[..., Phone], emulated: dict[str, str], digits: dict[str, Path], tmp_path: Path
) -> None:
    """The runner as ARM64 code, with ARM's own kernels, under QEMU; with GNU's C library, not Android's."""
    from edgepress.backends.places import emulation

    compiler, installed = shutil.which("aarch64-linux-gnu-g++"), emulation.find()
    assert not isinstance(installed, str)
    libraries = sorted(installed.directory.glob("site/**/capi/libonnxruntime.so.*"))
    if compiler is None or not libraries:
        pytest.skip("needs aarch64-linux-gnu-g++ (apt-get install g++-aarch64-linux-gnu)")
    source = Path(edgepress.__file__).parent / "backends/places/adb/runner/main.cpp"
    words = [compiler, "-std=c++17", "-O2", "-static-libstdc++", "-isystem", HEADERS, str(source), "-ldl"]
    subprocess.run([*words, "-o", str(tmp_path / "runner")], check=True)
    with zipfile.ZipFile(tmp_path / "arm.aar", "w") as archive:
        archive.write(libraries[0], "jni/arm64-v8a/libonnxruntime.so")
    arm = {**PROPERTIES, "ro.product.cpu.abi": "arm64-v8a"}
    phone = phones(properties=arm, wrapped=f"{installed.qemu} -L {installed.directory / 'root'}")
    address = f"{phone.address}&runtime={tmp_path}/arm.aar&runner={tmp_path}/runner"
    found = edgepress.verify_bundle(digits["mobile"], on=address)
    assert found.tool == f"onnxruntime {installed.wheels['onnxruntime']} for Android arm64-v8a"
    place = place_at(address)
    assert isinstance(place, Adb)
    engine = edgepress.load_bundle(digits["mobile"]).engine
    assert engine is not None
    layers = place.inspect(engine, Golden.load(digits["mobile"] / "golden").feeds[0])
    assert all(layer.integer for layer in layers if layer.compute)
    place.close()
