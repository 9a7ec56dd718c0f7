"""The emulated ARM64 Python: where it lies, what it is made of, and how a process of it is started.

It is a directory in the user's cache with an unpacked Python of the system's distribution (`root`), wheels for it
(`site`), and what Python compiles of both (`pycache`). QEMU's user mode runs it: the code is ARM's own, system calls
are this kernel's, and files lie where they lie.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from ...errors import EdgepressError
from ...profiles.machine.environment import EMULATED
from ...profiles.machine.user_cache import user_cache
from ...profiles.reading.json_file import read_json

WHEELS = Path(__file__).with_name("arm64.txt")
# A directory in place of the one in the cache; `off` is none.
VARIABLE = "EDGEPRESS_EMULATION"
RECORD = "installed.json"
COMMAND = "edgepress doctor --install-emulation"
NEED_QEMU = "Install QEMU's user mode: sudo apt-get install qemu-user-static"
# Where the target names no core: the oldest with the int8 dot product that QEMU 7.2 has. Kernels for what only newer
# ones have (i8mm, SVE, SME) are not seen. On `max`, which no device is, a MatMul through SME took 16 times as long.
USUAL = "cortex-a76"
# Where this QEMU has neither: all that it emulates.
EVERYTHING = "max"
_BINARIES = ("qemu-aarch64-static", "qemu-aarch64")
NOWHERE = f"{VARIABLE} is off, or there is no home directory"
_PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulation:
    """An emulated Python, ready to run.

    Attributes:
        directory: holds `root`, `site` and `pycache`.
        qemu: the emulator.
        python: version of the Python in it, as in `3.11.2`.
        wheels: version of each wheel in it.
    """

    directory: Path
    qemu: str
    python: str
    wheels: Mapping[str, str]

    def command(self, core: str, *arguments: str) -> list[str]:
        """The command of its Python on a processor core, as QEMU names it."""
        minor = ".".join(self.python.split(".")[:2])
        root = self.directory / "root"
        return [self.qemu, "-cpu", core, "-L", str(root), str(root / f"usr/bin/python{minor}"), "-S", *arguments]

    def environment(self, *more: Path) -> dict[str, str]:
        """What its Python needs in the environment; `more` is on its path as well.

        What tells this machine's own libraries something is emptied: it would reach the emulated ones.
        """
        return {
            EMULATED: "1",
            "PYTHONHOME": str(self.directory / "root/usr"),
            "PYTHONPATH": os.pathsep.join(map(str, (*more, self.directory / "site"))),
            "PYTHONPYCACHEPREFIX": str(self.directory / "pycache"),
            **dict.fromkeys(("LD_LIBRARY_PATH", "LD_PRELOAD", "OPENBLAS_CORETYPE"), ""),
        }

    def said(self) -> str:
        """What it is, with versions."""
        return f"qemu-aarch64 {qemu_version(self.qemu)}, CPython {self.python}"

    def own_code(self) -> Path:
        """A directory on the path of its Python that holds edgepress and nothing else of this machine's Python."""
        name = "edgepress"
        points = metadata.distribution(name).read_text("entry_points.txt") or ""
        digest = hashlib.sha256(f"{_PACKAGE}\n{points}".encode()).hexdigest()[:16]
        place = self.directory / "code" / digest
        if not place.exists():
            scratch = place.with_name(f"{digest}.{os.getpid()}")
            info = scratch / f"{name}-{metadata.version(name)}.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {metadata.version(name)}\n")
            (info / "entry_points.txt").write_text(points, encoding="utf-8")
            (scratch / name).symlink_to(_PACKAGE)
            try:
                scratch.rename(place)
            except OSError:  # another process was faster
                shutil.rmtree(scratch)
        return place


def directory() -> Path | None:
    """Where the emulated Python of these wheels lies, or is to lie; None where the user wants none or has no home."""
    if given := os.environ.get(VARIABLE):
        return None if given == "off" else Path(given).absolute()
    if (cache_of_user := user_cache("edgepress")) is None:
        return None
    digest = hashlib.sha256(WHEELS.read_bytes()).hexdigest()[:12]
    return cache_of_user / f"arm64-{digest}"


def find() -> Emulation | str:
    """The emulated Python, or why there is none, one clause."""
    where = directory()
    if where is None:
        return NOWHERE
    if sys.platform != "linux":
        return "QEMU's user mode needs Linux"
    if not (qemu := binary()):
        return f"{_BINARIES[0]} is not installed"
    if not (where / RECORD).exists():
        return "the emulated ARM64 Python is not installed"
    try:
        record = read_json(where / RECORD)
        return Emulation(directory=where, qemu=qemu, python=record["python"], wheels=record["wheels"])
    except (OSError, EdgepressError, KeyError, TypeError):
        return f"what is installed in {where} cannot be read"


def remedy() -> str:
    """What to do where there is none, a sentence; empty where nothing helps."""
    if (where := directory()) is None or sys.platform != "linux":
        return ""
    steps = [] if binary() else [NEED_QEMU]
    if not (where / RECORD).exists():
        steps.append(f"{'then run' if steps else 'Run'}: {COMMAND}")
    return "; ".join(steps)


def binary() -> str:
    """The emulator; empty where it is not installed."""
    return next((found for name in _BINARIES if (found := shutil.which(name))), "")


@cache
def qemu_version(qemu: str) -> str:
    """Its version, as in `7.2.22`."""
    said = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False).stdout
    return next((word for word in said.split() if word[:1].isdigit()), "of unknown version")


@cache
def cores(qemu: str) -> frozenset[str]:
    """The processor cores that it emulates."""
    said = subprocess.run([qemu, "-cpu", "help"], capture_output=True, text=True, check=False).stdout
    return frozenset(said.split())
