"""A phone, by the real `adb` and a stand-in for the device on loopback: the commands, and what goes wrong on the way.

What is real: adb and its server, the protocol, the runner, onnxruntime's library and its C API, all times. What is not:
the device, which is this machine behind `_adbd.py`; so the runner and the library are this processor's, in an archive
laid out as Android's is, and the compiler of the NDK is this machine's own. No phone has been seen by these tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import edgepress
from edgepress.backends.base import Engine
from edgepress.backends.places import Local, load_place, place_at
from edgepress.backends.places.adb import client as adb_client
from edgepress.backends.places.adb.about import listed
from edgepress.backends.places.adb.address import PhoneAddress
from edgepress.backends.places.adb.place import Adb
from edgepress.backends.places.files import CHUNK
from edgepress.backends.places.remote import EngineFailedError
from edgepress.errors import EdgepressError, InputError, UnservedError
from edgepress.exporter.capture.golden import Golden
from edgepress.exporter.graphs.files import read_graph
from edgepress.profiles.device.target import Target, load_target

from . import _adbd
from ._adbd import PROPERTIES, Phone
from ._flow import EDGEPRESS, SMALL, Once, Ran, read
from .test_loaders import HEADERS

# The compiler of a stand-in for the NDK: this machine's own, which is told nothing of a target.
CLANG = """#!/bin/sh
for word; do shift; case "$word" in --target=*) ;; *) set -- "$@" "$word" ;; esac; done
exec g++ -Wall -Wextra -Werror "$@"
"""


@pytest.fixture(scope="module")
def android(once: Once) -> Path:
    """An archive like that of onnxruntime-android with this processor's library, an NDK, and a user's cache."""
    package = Path(pytest.importorskip("onnxruntime").__file__).parent
    libraries = sorted((package / "capi").glob("libonnxruntime.so.*"))
    if not libraries or shutil.which("g++") is None:
        pytest.skip("needs g++, and a package of onnxruntime that has libonnxruntime.so")

    def fill(directory: Path) -> None:
        with zipfile.ZipFile(directory / "onnxruntime-android.aar", "w") as archive:
            archive.write(libraries[0], "jni/x86_64/libonnxruntime.so")
            for header in Path(HEADERS).glob("onnxruntime_*.h"):
                archive.write(header, f"headers/{header.name}")
        compiler = directory / "ndk/toolchains/llvm/prebuilt/linux-x86_64/bin/clang++"
        compiler.parent.mkdir(parents=True)
        compiler.write_text(CLANG)
        compiler.chmod(0o755)

    return once("android", fill)


@pytest.fixture(scope="module")
def surroundings(android: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a user with adb's server, the archive and the NDK."""
    if _adbd.ADB is None:
        pytest.skip("needs Android's adb: apt-get install adb")
    given = {
        "HOME": str(tmp_path_factory.mktemp("home")),
        "ANDROID_ADB_SERVER_PORT": str(_adbd.free_port()),
        "ANDROID_NDK_HOME": str(android / "ndk"),
        "EDGEPRESS_ANDROID_ONNXRUNTIME": str(android / "onnxruntime-android.aar"),
        "XDG_CACHE_HOME": str(android / "cache"),
    }
    yield given
    subprocess.run([_adbd.ADB, "kill-server"], env={**os.environ, **given}, capture_output=True, check=False)


@pytest.fixture
def user(surroundings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT", "ANDROID_SERIAL"):
        monkeypatch.delenv(name, raising=False)
    return surroundings


@pytest.fixture
def unknowing(user: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server of adb's that knows no phone; it ends behind those that a test starts."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(_adbd.free_port()))
    yield
    _adbd.adb("kill-server")


@pytest.fixture
def phones(user: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Phone]]:
    """Starts stand-ins, which adb forgets at the end."""
    started: list[Phone] = []

    def start(**more: object) -> Phone:
        started.append(_adbd.start(tmp_path / f"phone-{len(started)}", **more))
        return started[-1]

    yield start
    for phone in started:
        phone.stop()
        _adbd.adb("disconnect", phone.serial)


@pytest.fixture
def phone(phones: Callable[..., Phone]) -> Phone:
    return phones()


@pytest.fixture(scope="module")
def lasting(surroundings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    """One for all tests, which has what was brought to it before."""
    found = _adbd.start(tmp_path_factory.mktemp("phone"))
    yield found
    found.stop()


@pytest.fixture
def place(lasting: Phone, user: dict[str, str]) -> Iterator[Adb]:
    """The lasting phone, connected anew and given back at the end."""
    found = Adb.at(lasting.rest)
    yield found
    found.close()


@pytest.fixture
def bundle(digits: dict[str, Path], tmp_path: Path) -> Path:
    """The digits of `mobile`, whose target says the processor of the stand-in: there it is measured."""
    copy = Path(shutil.copytree(digits["mobile"], tmp_path / "digits"))
    manifest = read(copy, "manifest.json")
    manifest["target"]["arch"] = "x86_64"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


@pytest.fixture
def engine(bundle: Path) -> Engine:
    found = edgepress.load_bundle(bundle).engine
    assert found is not None
    return found


def one_message(error: EdgepressError, *parts: str) -> None:
    """What went wrong is said once, with what to do about it."""
    assert error.hint
    for part in parts:
        assert part in str(error), str(error)
    assert "Traceback" not in str(error)


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


EVERY = ["bool", "float16", "float32", "float64"]
EVERY += [f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)]


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


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("adb://-s", "names no phone"),
        ("adb://a;b", "names no phone"),
        ("adb://phone/path", "names no phone"),
        ("adb://phone?shell=x", "names no phone"),
        ("adb://phone?runtime=", "names no phone"),
        ("adb://phone?provider=tpu", "No provider 'tpu'"),
        ("adb://phone?sha256=12", "is no SHA-256"),
        ("adb://phone?directory=here", "is no absolute path"),
    ],
)
def test_what_names_no_phone_is_refused(address: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as error:
        place_at(address)
    one_message(error.value)


def test_a_phone_has_a_name_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(
        '[lab]\naddress = "adb://R5CT1"\nruntime = "/opt/a b.aar"\nprovider = "nnapi"\n'
        '[bad]\naddress = "adb://x"\npython = "p"\n'
    )
    found = place_at(f"{file}#lab")
    assert isinstance(found, Adb)
    assert found.host.address == PhoneAddress(serial="R5CT1", runtime="/opt/a b.aar", provider="nnapi")
    with pytest.raises(InputError, match=r"adb://x\?python=p names no phone"):
        place_at(f"{file}#bad")


def test_nobody_asks_for_phones_that_were_not_named() -> None:
    assert load_place("adb").why_not(load_target("mobile")) == "it needs an address, adb://SERIAL"
    assert not load_place("adb").judges


def test_ways_in_which_adb_reaches_no_phone(
    unknowing: None, phones: Callable[..., Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb_client, "_SETTLING", 0.5)
    target = load_target("mobile")

    def refused(rest: str, *parts: str) -> None:
        with pytest.raises(UnservedError) as error:
            Adb.at(rest).why_not(target)
        one_message(error.value, *parts)

    refused("", "adb finds no device.", "Plug it in")
    refused("R5CT1", "adb finds no device R5CT1")
    refused(f"127.0.0.1:{_adbd.free_port()}", "adb finds no device")
    locked = phones(trusted=False)
    refused(locked.serial, "does not trust this computer", "allow USB debugging")
    _adbd.adb("disconnect", locked.serial)
    silent = phones(answers=False)
    refused(silent.serial, "is offline")
    _adbd.adb("disconnect", silent.serial)
    first, second = phones(), phones()
    _adbd.adb("connect", first.serial)
    assert str(Adb.at("").host.client.address) == f"adb://{first.serial}", "it is the only one"
    _adbd.adb("connect", second.serial)
    refused("", "adb finds 2 devices", "Say which one, as in adb://127.0.0.1:")
    monkeypatch.setenv("PATH", "/nowhere")
    refused("", "needs adb", "apt-get install adb")


def test_what_a_phone_lacks_is_said_before_anything_is_copied(
    phone: Phone, android: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load_target("mobile")

    def why(**properties: str) -> str:
        phone.properties.update({name.replace("_", "."): value for name, value in properties.items()})
        phone.listed()
        return Adb.at(phone.rest).why_not(target)

    def refused(more: str, *parts: str) -> None:
        with pytest.raises(EdgepressError) as error:
            Adb.at(f"{phone.rest}{more}").why_not(target)
        one_message(error.value, *parts)

    assert "it has Android 15 (API 23), and onnxruntime needs API 24" in why(ro_build_version_sdk="23")
    assert why(ro_build_version_sdk="35", ro_product_cpu_abi="mips").startswith("its instruction set is mips")
    phone.properties["ro.product.cpu.abi"] = "x86_64"
    phone.listed()
    place = Adb.at(phone.rest)
    assert place.why_not(load_target("cpu")) == "cpu runs openvino, and a phone runs onnxruntime"
    place.close()
    phone.properties["ro.product.cpu.abi"] = "arm64-v8a"
    phone.listed()
    refused("", "onnxruntime-android.aar has no libonnxruntime.so for arm64-v8a; it has it for x86_64")
    refused("&runtime=/no.aar", "/no.aar is no file", "onnxruntime-android")
    (tmp_path / "text.aar").write_text("no archive")
    refused(f"&runtime={tmp_path}/text.aar", "is no archive of Android")
    refused(f"&sha256={'0' * 64}", "has the SHA-256 ", f"not {'0' * 64}")
    with zipfile.ZipFile(tmp_path / "arm.aar", "w") as archive:  # of an ARM64 library the first bytes
        archive.writestr("jni/arm64-v8a/libonnxruntime.so", b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x03\0\xb7\0")
        archive.writestr("jni/x86_64/libonnxruntime.so", "text")
    arm = f"&runtime={tmp_path}/arm.aar"
    refused(f"{arm}&runner={shutil.which('true')}", "is for x86_64, the device is arm64-v8a")
    refused(f"{arm}&runner=/nowhere", "/nowhere is no file")
    monkeypatch.delenv("ANDROID_NDK_HOME")
    refused(arm, "no runner for arm64-v8a, and no NDK", "ANDROID_NDK_HOME", "?runner=PATH")
    monkeypatch.delenv("EDGEPRESS_ANDROID_ONNXRUNTIME")
    refused("", "onnxruntime for Android was not given", "?runtime=PATH")
    assert not phone.device.exists(), "nothing was written"


def test_an_emulator_of_android_shows_no_latency(phone: Phone, bundle: Path, target: Target) -> None:
    phone.properties |= {"ro.boot.qemu": "1", "ro.product.model": "Pane\x1b[31m 8"}
    phone.listed()
    place = Adb.at(phone.rest)
    assert place.evidence(target) == "emulated"
    assert place.why_unmeasured(target) == "it is an emulator of Android"
    assert str(place.machine).startswith("Acme Pane[31m 8 (Android emulator, Acme A700), x86_64")
    assert place.how(target).endswith("in an emulator of Android")
    place.close()


@pytest.fixture
def target(engine: Engine) -> Target:
    return engine.target


def test_another_provider_is_the_librarys_to_have_and_makes_no_bundle(
    lasting: Phone, user: dict[str, str], target: Target
) -> None:
    place = Adb.at(f"{lasting.rest}&provider=xnnpack")
    assert "has no XnnpackExecutionProvider, only" in place.why_not(target)
    with pytest.raises(UnservedError) as error:
        place.need(target)
    one_message(error.value, "?provider=NAME")
    with pytest.raises(InputError, match=r"With .provider=xnnpack a bundle can be verified and measured"):
        place.check(None, target)  # type: ignore[arg-type]
    place.close()


def test_an_older_runtime_is_told_of(place: Adb, target: Target, caplog: pytest.LogCaptureFixture) -> None:
    loaded = {"version": "1.20.0", "providers": ["CPUExecutionProvider"]}
    place.host.__dict__["loaded"] = loaded
    assert place.why_not(target) == ""
    assert "its onnxruntime is 1.20.0, and android-arm64 is exported for 1.31.1" in caplog.text
    caplog.clear()
    place.host.__dict__["loaded"] = {**loaded, "version": "1.31.0"}
    assert place.why_not(replace(target, name="other")) == ""
    assert not caplog.text


def test_no_decoder_is_brought_there(lasting: Phone, place: Adb, engine: Engine) -> None:
    (engine.path.parent / "genai_config.json").write_text("{}")
    with pytest.raises(UnservedError) as error:
        place.open(engine)
    one_message(error.value, "runs no decoders", lasting.serial)
    with pytest.raises(UnservedError, match="runs no decoders"):
        place.decode(engine)


def test_how_a_phone_is_doing(phone: Phone) -> None:
    place = Adb.at(phone.rest)
    before = place.conditions()
    assert before.temperatures == {"skin": 31.5, "CPU0": 42.0}
    assert before.throttled == ()
    assert before.power_mode == "battery saver off"
    assert before.load is not None
    assert "throttling" not in before.absent
    hot = _adbd.THERMAL.replace("Thermal Status: 0", "Thermal Status: 3")
    phone.write_tool("dumpsys", f"cat <<'END'\n{hot}END\n")
    phone.write_tool("settings", "echo 1\n")
    files = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq:1800000\n/proc/loadavg:0.5 0.6 0.7 1/2 3\n"
    files += "/sys/class/thermal/thermal_zone0/temp:51000\n/sys/class/thermal/thermal_zone0/type:soc\n"
    files += "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor:schedutil\n"
    phone.write_tool("grep", f"cat <<'END'\n{files}END\n")
    after = place.conditions()
    assert after.throttled == ("Android's thermal status is severe",)
    assert after.power_mode == "battery saver on"
    assert after.governor == "schedutil"
    assert after.temperatures["soc"] == 51.0
    phone.write_tool("grep", "exit 1\n")
    phone.write_tool("dumpsys", "exit 1\n")
    blind = place.conditions()
    assert set(blind.absent) == {"governor", "clocks", "temperatures", "throttling"}
    assert listed("0-3,7") == [0, 1, 2, 3, 7]
    place.close()


def test_a_copy_that_was_cut_goes_on_where_it_ended(lasting: Phone, place: Adb, tmp_path: Path) -> None:
    file, parts = tmp_path / "weights.bin", 4
    file.write_bytes(np.random.default_rng(0).bytes(parts * CHUNK + 1))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert place.host.files.directory
    lasting.received, lasting.cut_after = 0, 2 * CHUNK + CHUNK // 2
    with pytest.raises(UnservedError) as error:
        place.host.files.keep([(file, digest)])
    one_message(error.value, "was lost", "it goes on from there")
    place.close()
    lasting.received = 0
    place.host.files.keep([(file, digest)])
    assert lasting.received == file.stat().st_size - 2 * CHUNK
    assert hashlib.sha256((lasting.device / "files" / digest).read_bytes()).hexdigest() == digest


def test_a_directory_that_others_may_write_to_is_refused(lasting: Phone, place: Adb, tmp_path: Path) -> None:
    """What is kept there is run."""
    assert place.host.files.directory
    place.close()
    before = lasting.device.stat().st_mode
    lasting.device.chmod(0o777)
    try:
        with pytest.raises(UnservedError) as error:
            assert place.host.files.directory
        one_message(error.value, f"others there may write to {lasting.device}", f"adb shell rm -r {lasting.device}")
    finally:
        lasting.device.chmod(before)
    assert place.host.files.directory


def test_what_was_there_of_another_file_is_not_taken(lasting: Phone, place: Adb, tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"right" * 1000)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert place.host.files.directory
    (lasting.device / "files" / f"{digest}.part").write_bytes(b"wrong")
    place.host.files.keep([(file, digest)])
    assert (lasting.device / "files" / digest).read_bytes() == file.read_bytes()


def test_a_name_with_the_signs_of_a_shell_is_only_a_name(lasting: Phone, place: Adb, tmp_path: Path) -> None:
    odd = tmp_path / "$(touch oops) `x`; '\"\n&.bin"
    odd.write_bytes(b"1")
    there = place.host.send(odd)
    assert Path(there).read_bytes() == b"1"
    assert Path(there).name == odd.name
    assert not [*lasting.directory.rglob("oops")]


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
def test_a_second_job_waits_for_the_first_and_says_so(
    lasting: Phone, place: Adb, bundle: Path, environment: dict[str, str], user: dict[str, str]
) -> None:
    assert place.host.files.directory
    words = [str(EDGEPRESS), "verify", str(bundle), "--on", lasting.address]
    told: list[str] = []
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env={**environment, **user}, stdout=pipe, stderr=pipe, text=True) as second:
        assert second.stderr is not None
        reader = threading.Thread(target=lambda: told.extend(second.stderr))  # type: ignore[arg-type]
        reader.start()
        message, end = f"adb://{lasting.serial} works for somebody else; waiting.", time.monotonic() + 120
        while message not in "".join(told) and time.monotonic() < end and second.poll() is None:
            time.sleep(0.1)
        waited = second.poll() is None
        place.close()
        assert second.wait(300) == 0
        reader.join()
    assert message in "".join(told)
    assert waited


@pytest.mark.slow
def test_a_full_disk_is_one_message_before_and_while_a_file_goes_there(phone: Phone, tmp_path: Path) -> None:
    small = tmp_path / "disk"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs to mount a small disk, which takes root")
    place = Adb.at(f"{phone.serial}?directory={small}/edgepress")
    try:
        file = tmp_path / "large.bin"
        file.write_bytes(bytes(40 << 20))
        with pytest.raises(UnservedError) as before:
            place.host.files.send(file, "0/large", lasting=True)
        one_message(before.value, "is full", "are to be copied there", "Make room there")
        assert not [*(small / "edgepress/files").iterdir()], "nothing was begun"
        (small / "other").write_bytes(bytes(80 << 20))
        with pytest.raises(UnservedError) as within:
            place.host.files.send(file, "0/large")
        one_message(within.value, "is full", "could not be written")
    finally:
        place.close()
        subprocess.run(["umount", "-l", str(small)], check=True)


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
