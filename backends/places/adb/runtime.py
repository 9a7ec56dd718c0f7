"""onnxruntime for Android: from the archive of the package `onnxruntime-android`, or a library that the user built.

Nothing is downloaded: the package is one of Maven's, which whoever builds an app with it already has.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ....errors import InputError, UnservedError
from ....profiles.machine.user_cache import user_cache
from ....profiles.reading.hashed import sha256
from .address import PhoneAddress
from .elf import need_abi

VARIABLE = "EDGEPRESS_ANDROID_ONNXRUNTIME"
LIBRARY = "libonnxruntime.so"
_HEADERS = "headers/"
_MOST = 1 << 30  # bytes of a file in an archive


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A file that has the library.

    Attributes:
        path: an archive (`.aar`), or the library (`.so`).
        digest: its sha256.
    """

    path: Path
    digest: str

    @property
    def archive(self) -> bool:
        """It is an archive, which has the headers of its library, too."""
        return self.path.suffix == ".aar"

    def library(self, abi: str, directory: Path) -> Path:
        """The library for an instruction set, below a directory where it is taken out of an archive.

        Raises:
            InputError: it has none for this one.
        """
        found = self._taken(f"jni/{abi}/{LIBRARY}", directory, abi) if self.archive else self.path
        need_abi(found, abi, f"{self.path.name}: {LIBRARY}", "library", _FROM)
        return found

    def headers(self, directory: Path) -> Path | None:
        """The directory of its headers; None where it is a library without."""
        if not self.archive:
            return None
        with zipfile.ZipFile(self.path) as archive:
            names = [name for name in archive.namelist() if name.startswith(_HEADERS) and name.endswith(".h")]
            for name in names:
                (directory / Path(name).name).write_bytes(_read(archive, name))
        return directory

    def _taken(self, name: str, directory: Path, abi: str) -> Path:
        with zipfile.ZipFile(self.path) as archive:
            if name not in archive.namelist():
                there = sorted({part.split("/")[1] for part in archive.namelist() if part.startswith("jni/")})
                raise InputError(
                    f"{self.path.name} has no {LIBRARY} for {abi}; it has it for {', '.join(there) or 'nothing'}.",
                    hint=_FROM,
                )
            found = directory / LIBRARY
            found.write_bytes(_read(archive, name))
        return found


_FROM = (
    "Give the archive of onnxruntime-android (com.microsoft.onnxruntime, an .aar) or a library that you built for this "
    f"instruction set: ?runtime=PATH behind the address, or {VARIABLE}=PATH."
)


def find(address: PhoneAddress) -> Runtime:
    """The file that the address names, or the environment, or the newest archive in the user's cache.

    Raises:
        InputError: it is none, or another than it should be.
        UnservedError: there is none.
    """
    given = address.runtime or os.environ.get(VARIABLE, "")
    path = Path(given).expanduser() if given else _kept()
    if path is None:
        where = "" if _cache() is None else f", and no .aar lies in {_cache()}"
        raise UnservedError(
            f"onnxruntime for Android was not given: no ?runtime=PATH, no {VARIABLE}{where}.", hint=_FROM
        )
    if not path.is_file():
        raise InputError(f"{path} is no file.", hint=_FROM)
    if path.suffix == ".aar" and not zipfile.is_zipfile(path):
        raise InputError(f"{path} is no archive of Android.", hint=_FROM)
    found = Runtime(path=path, digest=sha256(path))
    if address.sha256 and found.digest != address.sha256:
        raise InputError(
            f"{path.name} has the SHA-256 {found.digest}, not {address.sha256}.",
            hint="Get the file again, or change ?sha256= behind the address.",
        )
    return found


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of an archive.

    Raises:
        InputError: it is damaged, or larger than any library.
    """
    if archive.getinfo(name).file_size > _MOST:
        raise InputError(f"{name} in {archive.filename} is too large.", hint=_FROM)
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{name} in {archive.filename} is damaged: {error}.", hint="Get the archive again.") from error


def _cache() -> Path | None:
    cache = user_cache("edgepress")
    return None if cache is None else cache / "android"


def _kept() -> Path | None:
    cache = _cache()
    found = sorted(cache.glob("*.aar"), key=lambda file: file.stat().st_mtime) if cache is not None else []
    return found[-1] if found else None
