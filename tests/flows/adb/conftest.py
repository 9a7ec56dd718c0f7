"""A phone, by the real `adb` and a stand-in for the device on loopback: the commands, and what goes wrong on the way.

What is real: adb and its server, the protocol, the runner, onnxruntime's library and its C API, all times. What is not:
the device, which is this machine behind `_adbd.py`; so the runner and the library are this processor's, in an archive
laid out as Android's is, and the compiler of the NDK is this machine's own. No phone has been seen by these tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import edgepress
from edgepress.backends.base import Engine
from edgepress.backends.places.adb.place import Adb
from edgepress.profiles.device.target import Target

from .._flow import Once, read
from ..test_loaders import HEADERS
from . import _adbd
from ._adbd import Phone

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


@pytest.fixture
def target(engine: Engine) -> Target:
    return engine.target
