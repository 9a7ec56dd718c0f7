"""What a device runs engines with: this edgepress, and the packages that it lacks, each as a wheel.

Nothing is downloaded there and nothing is installed: a wheel is unpacked into a directory of its own, by its hash, and
stands on the path of the processes that edgepress starts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ....errors import UnservedError
from ....profiles.machine.environment import installed
from ....profiles.machine.held import held

_log = logging.getLogger(__name__)
# What holds modules of this package, below its root, which in a clone is the root of the repository.
_ROOMS = ("backends", "calibration", "exporter", "profiles")
_DATED = (2020, 1, 1, 0, 0, 0)  # the same files give the same bytes
_EXTRA = re.compile(r"""\bextra == ["']([\w-]+)""")
_KINDS = {".py", ".toml", ".txt", ".css", ".j2"}  # the package data of pyproject.toml, but for the runner of phones


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """The Python of a device.

    Attributes:
        version: (major, minor).
        arch: as `uname -m` says it.
        libc: (name, version) of its C library.
        packages: (version, requirements) of each of its packages, by name.
        markers: the environment that a requirement may depend on, by PEP 508.
    """

    version: tuple[int, int]
    arch: str
    libc: tuple[str, str]
    packages: Mapping[str, tuple[str, tuple[str, ...]]]
    markers: Mapping[str, str]

    @property
    def platforms(self) -> Iterator[str]:
        """The tags of wheels that it takes, by PEP 600."""
        name, version = self.libc
        if name == "glibc":
            minor = int(version.split(".")[1])
            yield from (f"manylinux_2_{level}_{self.arch}" for level in range(minor, 16, -1))
            yield f"manylinux2014_{self.arch}"
        yield f"linux_{self.arch}"


def lacking(python: Python, wanted: Iterable[str]) -> tuple[str, ...]:
    """Of requirements, and of what they require in turn, those that no package there meets."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    there = {canonicalize_name(name): found for name, found in python.packages.items()}
    todo, seen, missing = list(wanted), set[str](), list[str]()
    while todo:
        text = todo.pop(0)
        one = Requirement(text)
        extras = [{**python.markers, "extra": extra} for extra in ("", *one.extras)]
        if text in seen or (one.marker is not None and not any(map(one.marker.evaluate, extras))):
            continue
        seen.add(text)
        version, needs = there.get(canonicalize_name(one.name), ("", ()))
        if not version or not one.specifier.contains(version, prereleases=True):
            one.marker = one.url = None  # what a device says of its packages sends nobody here to an address
            missing.append(str(one))
            continue
        todo += [need for need in needs if "extra ==" not in need]
    return tuple(sorted(set(missing)))


def downloaded(python: Python, requirements: tuple[str, ...], cache: Path, where: str) -> tuple[Path, ...]:
    """Wheels for that Python, of the requirements and of what these require; from the cache where they are in it.

    In the versions that are here where there are such wheels, so that both sides compute alike.

    Args:
        cache: directory of this user, which need not exist.
        where: the device, for messages.

    Raises:
        UnservedError: they cannot be had.
    """
    if not requirements:
        return ()
    asked = {"python": python.version, "platforms": [*python.platforms], "requirements": pinned(requirements)}
    kept = cache / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    if not kept.is_dir():
        _log.info("Getting wheels for %s: %s.", where, ", ".join(requirements))
        cache.mkdir(parents=True, exist_ok=True)
        with held(cache, ".wheels.") as work:
            fresh = work / "wheels"
            fresh.mkdir()
            if _download(python, pinned(requirements), fresh) and (why := _download(python, requirements, fresh)):
                raise UnservedError(
                    f"{where} lacks {', '.join(requirements)}, and wheels for its Python {_dotted(python)} on "
                    f"{python.arch} cannot be had: {why}.",
                    hint="Install these packages there, or run this where pip reaches its index.",
                )
            if not kept.is_dir():
                fresh.rename(kept)
    return tuple(sorted(kept.glob("*.whl")))


def _download(python: Python, requirements: Sequence[str], directory: Path) -> str:
    """Why pip found no wheels; empty where it did."""
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    tag = f"cp{_dotted(python).replace('.', '')}"
    words += ["--only-binary=:all:", "--dest", str(directory), f"--python-version={_dotted(python)}"]
    words += ["--implementation=cp", *(f"--abi={abi}" for abi in (tag, "abi3", "none"))]
    words += [f"--platform={platform}" for platform in python.platforms]
    done = subprocess.run([*words, "--", *requirements], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if not done.returncode:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    return lines[-1].removeprefix("ERROR: ").rstrip(".") if lines else "pip failed and said nothing"


def pinned(requirements: Iterable[str]) -> tuple[str, ...]:
    """The requirements in the versions of what is here, where it is."""
    from packaging.requirements import Requirement

    names = {text: Requirement(text).name for text in requirements}
    here = {text: installed(name) for text, name in names.items()}
    return tuple(f"{names[text]}=={version}" if version else text for text, version in here.items())


def required(packages: Sequence[str], *, brought: bool) -> tuple[str, ...]:
    """What edgepress requires on a device that runs these packages, from the version on that edgepress can use.

    Args:
        packages: of a runtime.
        brought: they may be brought to a device; otherwise only what belongs to them, by the extra of edgepress that
            has them.
    """
    from packaging.requirements import Requirement

    base, extras = list[str](), dict[str, list[Requirement]]()
    for text in metadata.requires("edgepress") or ():
        if extra := _EXTRA.search(text):
            extras.setdefault(extra[1], []).append(Requirement(text))
        else:
            base.append(text)
    found = {name: name for name in packages}
    for named in extras.values():
        if any(one.name in packages for one in named):
            found |= {one.name: f"{one.name}{one.specifier}" for one in named}
    return (*base, *(text for name, text in found.items() if brought or name not in packages))


def _dotted(python: Python) -> str:
    return ".".join(map(str, python.version))


def own_wheel(directory: Path) -> Path:
    """The modules of this edgepress, as they are here, as a wheel; the same ones give the same bytes."""
    root = Path(__file__).parents[3]
    version = metadata.version("edgepress")
    path = directory / f"edgepress-{version}-py3-none-any.whl"
    info = f"edgepress-{version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in _modules(root):
            add_to_wheel(wheel, f"edgepress/{file.relative_to(root).as_posix()}", file.read_bytes())
        found = metadata.distribution("edgepress")
        for name in ("METADATA", "entry_points.txt"):
            add_to_wheel(wheel, f"{info}/{name}", (found.read_text(name) or "").encode())
    return path


def _modules(root: Path) -> Iterator[Path]:
    yield from sorted(file for file in root.glob("*.py") if file.is_file())
    for room in _ROOMS:
        found = (file for file in (root / room).rglob("*") if file.suffix in _KINDS and file.is_file())
        yield from sorted(found)


def add_to_wheel(wheel: zipfile.ZipFile, name: str, data: bytes) -> None:
    """A file, without a date of its own."""
    wheel.writestr(zipfile.ZipInfo(name, _DATED), data, zipfile.ZIP_DEFLATED)
