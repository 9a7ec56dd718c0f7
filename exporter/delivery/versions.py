"""The directory of a device: versions that were installed there, and the link to the one in use.

    DIR/versions/0007-<digest>/    a bundle, whole and proven on this machine
    DIR/current                    a link to one of them, replaced in one step of the file system

A program opens `DIR/current/engine/...`. Whatever kills an install, the link leads to a whole version: a bundle gets
its name under `versions/` when it is whole, and the link is the last to change. What a program has open stays open.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...profiles.machine.given import as_typed
from ...profiles.machine.held import clean, held
from ...profiles.machine.renames import rename_new
from ..bundle.files import regular_files

VERSIONS, CURRENT = "versions", "current"
_NAME = re.compile(r"(\d{4,})-([0-9a-f]{16})")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Version:
    """One that was installed; a later one has a higher number."""

    number: int
    digest: str
    path: Path

    @classmethod
    def of(cls, path: Path) -> Version | None:
        """The version that a path in `versions/` names; None where the name was not given here."""
        found = _NAME.fullmatch(path.name)
        return None if found is None else cls(number=int(found[1]), digest=found[2], path=path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The directory of one model on a device."""

    directory: Path

    @property
    def versions(self) -> tuple[Version, ...]:
        """What is installed, the oldest first."""
        with suppress(FileNotFoundError):
            return tuple(sorted(filter(None, map(Version.of, (self.directory / VERSIONS).iterdir()))))
        return ()

    @property
    def current(self) -> Version | None:
        """The one in use.

        Raises:
            InputError: there is something else under that name.
        """
        link = self.directory / CURRENT
        if not os.path.lexists(link):
            return None
        names = link.readlink().parts if link.is_symlink() else ()
        found = {version.path.name: version for version in self.versions}
        if len(names) != 2 or names[0] != VERSIONS or names[1] not in found:
            raise InputError(
                f"{as_typed(link)} is no link to a version that was installed there.",
                hint="Give --to a directory of its own, or move that away.",
            )
        return found[names[1]]

    @property
    def before(self) -> Version | None:
        """The one that was in use before the current one."""
        now = self.current
        return None if now is None else max((one for one in self.versions if one < now), default=None)

    @contextmanager
    def alone(self) -> Iterator[Path]:
        """Hold the directory for one process, which makes it; gives a scratch directory in it, which goes.

        Raises:
            InputError: another process is at work there.
        """
        made = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        (self.directory / VERSIONS).mkdir(parents=True, exist_ok=True)
        lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(lock, self.directory)
            clean(self.directory)
            with held(self.directory, ".install.") as scratch:
                yield scratch
        finally:
            for path in (self.directory / VERSIONS, *made):
                with suppress(OSError):  # not empty: something was installed
                    path.rmdir()
            os.close(lock)

    def add(self, bundle: Path, digest: str, scratch: Path) -> Version:
        """Give a whole bundle its place, and let the link lead there.

        Versions newer than the current one were gone back from, or never came into use: they go first, so that the one
        before this is the one that is in use now.
        """
        now = self.current
        for version in self.versions:
            if now is None or version > now:
                _drop(version, scratch)
        number = 1 if now is None else now.number + 1
        path = self.directory / VERSIONS / f"{number:04d}-{digest[:16]}"
        settle(bundle)
        rename_new(bundle, path)
        _flush(path.parent)
        version = Version(number=number, digest=digest[:16], path=path)
        self.switch(version, scratch)
        return version

    def switch(self, version: Version, scratch: Path) -> None:
        """Let the link lead to a version."""
        link = scratch / CURRENT
        link.symlink_to(Path(VERSIONS, version.path.name))
        os.replace(link, self.directory / CURRENT)
        _flush(self.directory)

    def prune(self, keep: int, scratch: Path) -> None:
        """Remove the oldest versions but `keep`, never the current one."""
        now = self.current
        for version in self.versions[:-keep]:
            if version != now:
                _drop(version, scratch)


def settle(directory: Path) -> None:
    """See that all of a directory is on the disk, so that no loss of power finds it named and empty."""
    for path in regular_files(directory).values():
        _flush(path)
    for folder, _, _ in os.walk(directory):
        _flush(Path(folder))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _drop(version: Version, scratch: Path) -> None:
    """Out of `versions/` in one step; its files go with the scratch directory, whoever is killed."""
    version.path.rename(scratch / version.path.name)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"Another process is installing into {as_typed(directory)}.", hint="Wait until it has ended, and try again."
        ) from error
