"""Prepare the emulated ARM64 Python in the user's cache: without root, and through the system's own package sources.

Two sources, each with its own proof of what it gives. apt resolves and downloads a Python for ARM64 with lists and a
state of its own, so that nothing of the system changes; it takes only what the distribution signed. pip downloads the
wheels of `arm64.txt`, each held to the sha256 that stands there. Downloads stay until all is done, so that a run that
was cut goes on where it was; what is ready takes its place by one renaming.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ...errors import InputError, UnservedError
from ...profiles.machine.environment import now
from . import emulation
from .emulation import EVERYTHING, RECORD, WHEELS, Emulation

Say = Callable[[str], None]
# What apt resolves: an interpreter, its standard library, and what the wheels link against.
_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
# Of wheels; the names of pip for a glibc of 2.28 and older.
_GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
_PYTHONS = ("3.11", "3.12", "3.13")
_TOOLS = ("apt-get", "dpkg-deb")


def install(say: Say) -> Emulation:
    """Prepare it, or say that it is there.

    Args:
        say: shown each step.

    Raises:
        UnservedError: QEMU, apt or pip is missing, or what they need cannot be reached; what to do.
        InputError: the directory cannot be written, or the user wants none.
    """
    where = emulation.directory()
    if where is None:
        raise InputError(f"{emulation.NOWHERE}.", hint=f"Unset {emulation.VARIABLE}, or give a directory in it.")
    if not (qemu := emulation.binary()):
        raise UnservedError("qemu-aarch64-static is not installed.", hint=f"{emulation.NEED_QEMU}.")
    if lacking := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise UnservedError(
            f"{lacking[0]} is not on this machine: the ARM64 Python comes from Debian's or Ubuntu's packages.",
            hint="Prepare it on such a system, for instance in a container.",
        )
    try:
        with _alone(where):
            if isinstance(found := emulation.find(), Emulation):
                say(f"ARM64 emulation is ready in {where}: {found.said()}.")
                return found
            return _prepared(where, qemu, say)
    except OSError as error:
        raise InputError(f"{where} cannot be written: {error.strerror or error}.") from error


@contextmanager
def _alone(where: Path) -> Iterator[None]:
    """One process at a time; the kernel drops the lock of one that ends, however it ends."""
    where.parent.mkdir(parents=True, exist_ok=True)
    with open(where.with_name(f"{where.name}.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepared(where: Path, qemu: str, say: Say) -> Emulation:
    if where.exists():  # and is no installation
        raise InputError(f"{where} is there, and cannot be read as an installation.", hint="Remove it.")
    work, made = where.with_name(f"{where.name}.work"), where.with_name(f"{where.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    (made / "root").mkdir(parents=True)
    say("1/4 ARM64 packages of this system's own sources, with apt (25 MB)")
    debs = _debs(work)
    for deb in debs:
        _ran(["dpkg-deb", "-x", str(deb), str(made / "root")], f"{deb.name} could not be unpacked")
    if not (made / "root/lib").exists():  # a link of Debian 13's that belongs to no package here
        (made / "root/lib").symlink_to("usr/lib")
    minor = _minor(made / "root")
    say(f"2/4 wheels for ARM64 and CPython {minor}, with pip, by hash (34 MB)")
    wheels = _wheels(work, minor)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as file:
            file.extractall(made / "site")
    say("3/4 the first run under emulation, which compiles what is imported (a minute)")
    versions = {name: version for name, version, *_ in (wheel.name.split("-") for wheel in wheels)}
    python = _first_run(Emulation(directory=made, qemu=qemu, python=f"{minor}.0", wheels=versions))
    say("4/4 putting it in its place")
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (*debs, *wheels)}
    record = {"python": python, "wheels": versions, "sha256": sums, "installed": now()}
    (made / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    made.rename(where)
    shutil.rmtree(work, ignore_errors=True)
    found = emulation.find()
    assert isinstance(found, Emulation), found
    say(f"Ready in {where}: {found.said()}.")
    return found


# Read behind the system's own settings, whose hooks are for the system's own lists and may need root.
_APT = """\
Dir::State "{work}/state";
Dir::State::status "{work}/state/status";
Dir::Cache "{work}/cache";
Dir::Cache::archives "{work}/cache/archives";
#clear APT::Architectures;
APT::Architectures {{ "arm64"; }};
APT::Architecture "arm64";
APT::Sandbox::User "";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
Acquire::Retries "3";
"""


def _debs(work: Path) -> list[Path]:
    """The packages, whole, as apt has checked them against the distribution's signed lists."""
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True, exist_ok=True)
    (work / "state/status").touch()
    (work / "apt.conf").write_text(_APT.format(work=work), encoding="utf-8")
    apt = ["apt-get", "-q", "-y", "-c", str(work / "apt.conf")]
    hint = "Is there a network, and do the sources of apt carry arm64? Debian's do; Ubuntu's need its ports archive."
    unread = None
    try:
        _ran([*apt, "update"], "apt could not read the package lists for arm64", hint)
    except UnservedError as error:  # of a source that none of the packages may come from
        unread = error
    wanted = [*apt, "--no-install-recommends", "--download-only", "install", *_PACKAGES]
    try:
        _ran(wanted, "apt could not download the ARM64 Python", hint)
    except UnservedError as error:
        raise unread or error from error
    return sorted((work / "cache/archives").glob("*.deb"))


def _minor(root: Path) -> str:
    """The version of the Python that was unpacked, as in `3.11`."""
    found = [name for name in _PYTHONS if (root / f"usr/bin/python{name}").exists()]
    if not found:
        there = ", ".join(sorted(path.name for path in (root / "usr/bin").glob("python3.*"))) or "none"
        raise UnservedError(
            f"The ARM64 Python of this system is {there}; there are wheels for {', '.join(_PYTHONS)}.",
            hint="Prepare it on Debian 12 or 13, or on Ubuntu 24.04.",
        )
    return found[0]


def _wheels(work: Path, minor: str) -> list[Path]:
    """The wheels of the list, each of a hash that stands in it."""
    place = work / f"wheels-{minor}"
    platforms = [word for name in _GLIBC for word in ("--platform", f"{name}_aarch64")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", minor, "--implementation", "cp", *platforms]
    _ran(
        [*command, "--require-hashes", "--requirement", str(WHEELS), "--dest", str(place)],
        "pip could not download the ARM64 wheels",
        "Is there a network, and does pip's own index have them? Run the command again: it goes on where it was.",
    )
    return sorted(place.glob("*.whl"))


def _first_run(made: Emulation) -> str:
    """Import what will be imported; the version of Python."""
    code = "import numpy, onnxruntime, pydantic, platform; print('python', platform.python_version())"
    said = _ran(
        made.command(EVERYTHING, "-c", code),
        "The ARM64 Python does not run under this QEMU",
        "QEMU 7.2 is known to do; see docs/devices.md.",
        made.environment(),
    )
    return said.split("python ")[-1].split()[0]


def _ran(command: Sequence[str], wrong: str, hint: str = "", environment: dict[str, str] | None = None) -> str:
    """What a command printed.

    Raises:
        UnservedError: it failed; its last word.
    """
    run = partial(subprocess.run, capture_output=True, text=True, errors="replace", check=False)
    done = run(command, env={**os.environ, **(environment or {})})
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = next((line for line in lines if line.startswith(("E:", "ERROR:"))), lines[-1] if lines else "")
        raise UnservedError(f"{wrong}: {said or f'status {done.returncode}'}", hint=hint or None)
    return done.stdout
