"""How the directory of a bundle, or another that a command writes, comes to exist: whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...backends.base import Engine, Graph
from ...backends.registry import load_backend
from ...errors import InputError
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.machine.given import as_typed
from ...profiles.machine.held import ASIDE, clean, held, in_use
from ...profiles.machine.renames import exchanged, rename_new
from ...profiles.reading.names import need_text
from .manifest import MANIFEST


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryKind:
    """What a directory is, which only its like may replace.

    Attributes:
        mark: the file that each of them has.
        one, many: it in words.
    """

    mark: str
    one: str
    many: str


BUNDLE = DirectoryKind(mark=MANIFEST, one="a bundle", many="bundles")


@contextmanager
def new_directory(destination: Path, *, force: bool, kind: DirectoryKind = BUNDLE) -> Iterator[Path]:
    """A temporary directory beside the destination that becomes it when the block ends well, and vanishes otherwise.

    What dead processes left beside it goes first, and a bundle that one had set aside comes back.

    Raises:
        InputError: the destination exists and `force` is not set, another process is writing to it, or its parent is
            not writable.
    """
    destination = destination.absolute()  # the block may run code that goes elsewhere
    clean(destination.parent)
    check_destination(destination, force=force, kind=kind)
    if not force and in_use(destination.parent, destination.name):
        raise InputError(
            f"Another process is writing {as_typed(destination)}.",
            hint="Wait for it, or choose another --output. With --force this one goes on, and the last one stays.",
        )
    made = [parent for parent in destination.parents if not parent.exists()]
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        with held(destination.parent, f".{destination.name}.", aside_of=destination.name) as place:
            work = place / "bundle"
            work.mkdir()
            yield work
            _move_into_place(work, place / ASIDE, destination, force=force, kind=kind)
    finally:
        for parent in made:
            with suppress(OSError):  # not empty: the bundle, or another process's, is in it
                parent.rmdir()


def check_destination(destination: Path, *, force: bool, kind: DirectoryKind = BUNDLE) -> None:
    """Fail before any work is done where the directory could not be written.

    Raises:
        InputError: it exists and `force` is not set, is not of the kind that may be replaced, or cannot be created.
    """
    need_text(destination.absolute())
    if destination.exists() or destination.is_symlink():
        if not (destination / kind.mark).is_file() and (not destination.is_dir() or any(destination.iterdir())):
            raise InputError(
                f"{as_typed(destination)} exists and is not {kind.one}; --force replaces {kind.many} only.",
                hint="Move it away, or choose another --output.",
            )
        if not force:
            raise InputError(
                f"{as_typed(destination)} exists.", hint="Replace it whole with --force, or choose another --output."
            )
    parent = next(p for p in destination.absolute().parents if p.exists() or p.is_symlink())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{parent} is not a writable directory.", hint="Make it writable, or write elsewhere with --output."
        )


def _move_into_place(work: Path, aside: Path, destination: Path, *, force: bool, kind: DirectoryKind) -> None:
    """Rename; an old one that may be replaced changes places with the new one, and goes with what is left.

    Where the system has no such step, the old one is set aside first, and put back if the rename fails or is
    interrupted, by the next run where this one is killed.

    Raises:
        InputError: something has come there since this began.
    """
    try:
        rename_new(work, destination)
    except FileExistsError as error:
        if not force:
            raise InputError(
                f"{as_typed(destination)} exists: it came while this command ran.", hint="Replace it with --force."
            ) from error
        check_destination(destination, force=True, kind=kind)
        _replace(work, aside, destination)


def _replace(work: Path, aside: Path, destination: Path) -> None:
    if exchanged(work, destination):
        return
    try:
        destination.rename(aside)
        work.rename(destination)
    finally:
        if aside.exists() and not destination.exists():
            aside.rename(destination)


def engine_laid_in(directory: Path, engine: Engine) -> Engine:
    """The engine in its place in a bundle, with what opens it there as it was proven."""
    place = directory / "engine"
    shutil.copytree(engine.path.parent, place)
    shutil.copymode(directory, place)  # it was made where only this process may look
    for name, text in load_backend(engine.backend).loader(engine).items():
        (place / name).write_text(text, encoding="utf-8")
    return replace(engine, path=place / engine.path.name)


def recipe_laid_in(directory: Path, graph: Graph, target: Target, precision: PrecisionName) -> None:
    """What a device builds the engine with, in the place of the engine."""
    place = directory / "engine"
    place.mkdir()
    for name, text in load_backend(target.backend).recipe_files(graph, target, precision).items():
        path = place / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
