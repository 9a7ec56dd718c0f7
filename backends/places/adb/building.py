"""The program that runs engines on a phone: one that was built before, or built now with the NDK's own clang."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from ....errors import InputError, UnservedError
from ....profiles.machine.held import held, temporary
from ....profiles.machine.user_cache import user_cache
from .about import OLDEST_API
from .address import PhoneAddress
from .elf import need_abi
from .runtime import Runtime

VARIABLE = "EDGEPRESS_ANDROID_RUNNER"
_TRIPLES = {
    "arm64-v8a": "aarch64-linux-android",
    "armeabi-v7a": "armv7a-linux-androideabi",
    "x86_64": "x86_64-linux-android",
    "x86": "i686-linux-android",
}
_FLAGS = ("-std=c++17", "-O2", "-fPIE", "-pie", "-static-libstdc++")
_NDKS = ("ANDROID_NDK_HOME", "ANDROID_NDK_ROOT", "ANDROID_NDK")
_SDKS = ("ANDROID_HOME", "ANDROID_SDK_ROOT")
_log = logging.getLogger(__name__)


def runner(address: PhoneAddress, abi: str, runtime: Runtime) -> Path:
    """The program for an instruction set.

    Args:
        runtime: whose headers it is built with.

    Raises:
        InputError: the one that was given is for another one.
        UnservedError: it cannot be built here, and none was given.
    """
    given = address.runner or os.environ.get(VARIABLE, "")
    return _given(Path(given).expanduser(), abi) if given else _built(abi, runtime)


def _given(path: Path, abi: str) -> Path:
    hint = f"Build it for {abi}, or let edgepress do so with the NDK: leave ?runner= and {VARIABLE} out."
    if not path.is_file():
        raise InputError(f"{path} is no file.", hint=hint)
    need_abi(path, abi, f"The runner {path.name}", "program", hint)
    return path


def _built(abi: str, runtime: Runtime) -> Path:
    """Built by these sources, headers and compiler; once."""
    compiler = _compiler()
    if compiler is None or not runtime.archive:
        raise _unbuildable(abi, runtime, ndk=compiler is not None)
    with temporary() as scratch:
        sources, headers = scratch / "sources", scratch / "headers"
        for directory in (sources, headers):
            directory.mkdir()
        _write_sources(sources)
        runtime.headers(headers)
        words = [str(compiler), f"--target={_TRIPLES[abi]}{OLDEST_API}", "-isystem", str(headers), *_FLAGS]
        key = _key(sources, headers, compiler, words[1])
        cache = (user_cache("edgepress") or scratch) / "android"
        kept = cache / f"runner-{abi}-{key}"
        if not kept.exists():
            _log.info("Building the program that runs engines on %s.", abi)
            cache.mkdir(parents=True, exist_ok=True)
            with held(cache, ".runner.") as work:
                _compile([*words, str(sources / "main.cpp"), "-o", str(work / "runner"), "-ldl"])
                _given(work / "runner", abi)
                (work / "runner").replace(kept)
        if kept.is_relative_to(scratch):  # there is no cache: it has to outlive this directory
            raise UnservedError("There is no home directory to keep the runner in.", hint="Set HOME or XDG_CACHE_HOME.")
    return kept


def _write_sources(directory: Path) -> None:
    for file in resources.files(__package__).joinpath("runner").iterdir():
        if file.name.endswith((".cpp", ".hpp")):
            (directory / file.name).write_bytes(file.read_bytes())


def _compile(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or [""]
        raise UnservedError(
            f"{words[0]} does not build the runner: {lines[0].strip()}",
            hint="Is this an NDK of version 23 or later? Another one can be named with ANDROID_NDK_HOME.",
        )


def _unbuildable(abi: str, runtime: Runtime, *, ndk: bool) -> UnservedError:
    if ndk:
        return UnservedError(
            f"{runtime.path.name} is a library without headers, with which no runner is built.",
            hint=f"Give the .aar instead, or a runner that was built before: ?runner=PATH, or {VARIABLE}=PATH.",
        )
    return UnservedError(
        f"There is no runner for {abi}, and no NDK of Android to build one with.",
        hint=f"Name an NDK with ANDROID_NDK_HOME, or build it where there is one and give it: ?runner=PATH, or "
        f"{VARIABLE}=PATH. `docs/devices.md` has the command.",
    )


def _key(sources: Path, headers: Path, compiler: Path, target: str) -> str:
    digest = hashlib.sha256(f"{compiler.resolve()} {compiler.stat().st_mtime_ns} {target} {_FLAGS}".encode())
    for file in sorted([*sources.iterdir(), *headers.iterdir()]):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _compiler() -> Path | None:
    """The compiler of the first NDK that is named or lies in the SDK, the newest there; None without one."""
    for ndk in _ndks():
        if found := sorted(ndk.glob("toolchains/llvm/prebuilt/*/bin/clang++")):
            return found[0]
    return None


def _ndks() -> Iterator[Path]:
    yield from (Path(os.environ[name]) for name in _NDKS if os.environ.get(name))
    for sdk in (Path(os.environ[name]) for name in _SDKS if os.environ.get(name)):
        yield from sorted(sdk.glob("ndk/*"), key=_version, reverse=True)
    if (build := shutil.which("ndk-build")) is not None:
        yield Path(build).resolve().parent


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.name.split(".") if part.isdigit())
