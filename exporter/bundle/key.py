"""A key of what decides a bundle, so that a CI run does not build again what did not change.

No key of user code is complete (decision 5): this one holds the weights and the structure of the model that was loaded,
every file of the user's own that Python imported for it, the data and settings that were named, the first batch of
`calibration()`, the target, the tools and the machine. What is read later, or from elsewhere, has to be named.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from ...backends.places import place_for
from ...backends.registry import tool_versions
from ...errors import EdgepressError, InputError
from ...profiles.device.target import Target
from ...profiles.machine.environment import this_machine
from ...profiles.machine.writing import write_whole
from ...profiles.reading.json_file import read_json
from ..recipe import Recipe
from ..recipe_file import EXCLUSIVE, recipe_data
from ..sources import DecoderSource, Source
from ..sources.traceback import is_user_file
from .manifest import MANIFEST, Bundle, check_files, load_bundle, sha256
from .signature import check_signature
from .signing_keys import PublicKey

_INSTALLED = {"site-packages", "dist-packages"}


def bundle_key(
    source: Source | DecoderSource,
    target: Target,
    recipe: Recipe,
    depends: Sequence[Path] = (),
    on: str | None = None,
) -> str:
    """Sha256 in hex of what decides the bundle of a source for a target.

    Args:
        depends: further files and directories that the model's code reads.
        on: address of the place where engines are judged and measured.

    Raises:
        InputError: one of them does not exist, or `calibration()` raises.
        UnservedError: engines of the target cannot be opened at the address.
    """
    named = {name: Path(value) for name in EXCLUSIVE if (value := getattr(recipe, name)) is not None}
    settings = {name: value for name, value in recipe_data(recipe).items() if name not in EXCLUSIVE}
    machine, place = this_machine(), place_for(target, on)
    parts: dict[str, Any] = {
        "source": (source.name, source.kind, source.digest),
        "code": sorted(sha256(file) for file in _own_files()),
        "batch": _first_batch(source),
        "data": {name: _content(path) for name, path in named.items()},
        "depends": [_content(path) for path in depends],
        "recipe": settings,
        "target": to_jsonable_python(target),
        "tools": {**tool_versions(), "python": platform.python_version(), "code": _our_code()},
        # Which precision is shipped, and every latency, is this machine's.
        "machine": (machine.processor, machine.arch, machine.cores, machine.isa),
        "place": (place.name, on, place.tool(target)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def kept(destination: Path, key: str, signed: PublicKey | None = None) -> Bundle | None:
    """The bundle that lies there, if it was made under this key and is intact.

    Args:
        signed: of who must have signed it. What somebody else put there is never signed in passing.
    """
    try:
        if signed is not None:
            check_signature(destination, signed)
        noted = read_json(_note(destination))
        bundle = load_bundle(destination)
        if noted != {"key": key, "manifest": sha256(destination / MANIFEST)}:
            return None
        check_files(bundle)
    except (OSError, EdgepressError):
        return None  # whatever is wrong with it, a new one is made
    return bundle


def note(bundle: Bundle, key: str) -> None:
    """Write `BUNDLE.key` beside the bundle."""
    text = json.dumps({"key": key, "manifest": sha256(bundle.path / MANIFEST)}, indent=2, sort_keys=True)
    write_whole(_note(bundle.path), text + "\n")


def _note(destination: Path) -> Path:
    return destination.with_name(f"{destination.name}.key")


def _own_files() -> set[Path]:
    """Python files of the user's own that are imported: neither ours, nor installed, nor Python's."""
    names = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    files = {Path(name) for name in names if name and name.endswith(".py")}
    return {file for file in files if not _INSTALLED & set(file.parts) and is_user_file(str(file)) and file.is_file()}


def _our_code() -> str:
    """A digest of edgepress itself: a checkout changes without a version."""
    root = Path(__file__).resolve().parents[2]
    packages = ("backends", "calibration", "exporter", "profiles")
    files = sorted(f for name in packages for f in (root / name).rglob("*") if f.suffix in (".py", ".toml"))
    return _digest(files, root)


def _content(path: Path) -> str:
    """A digest of a file, or of every file below a directory with its name."""
    if path.is_dir():
        return _digest(sorted(file for file in path.rglob("*") if file.is_file()), path)
    if not path.is_file():
        raise InputError(f"{path} does not exist.", hint="Name a file or a directory that the model depends on.")
    return sha256(path)


def _digest(files: Iterable[Path], root: Path) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(root).as_posix()} {sha256(file)}\n".encode())
    return total.hexdigest()


def _first_batch(source: Source | DecoderSource) -> list[str]:
    """The first batch of the source's own calibration data; empty where it has none."""
    if isinstance(source, DecoderSource) or source.calibration is None:
        return []
    return list(_arrays(next(iter(source.calibration()), {})))


def _arrays(batch: Any) -> Iterator[str]:
    import numpy as np

    for name, array in sorted(dict(batch).items()):
        data = np.ascontiguousarray(array)
        yield f"{name} {data.dtype} {data.shape} {hashlib.sha256(data.tobytes()).hexdigest()}"
