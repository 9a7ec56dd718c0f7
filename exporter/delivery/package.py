"""One file of several bundles: `index.json`, and every file of them once, under its hash.

It is a ZIP archive whose members are stored, not compressed. So the same bundles give the same bytes whatever zlib
there is, and no member can be larger than the file that holds it. Nothing here needs torch or onnx.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import to_jsonable_python

from ...errors import UnreadableError, VerificationError
from ...profiles.machine.writing import whole
from ...profiles.reading.json_file import MOST, decoded
from ...profiles.reading.opened import opened
from ...profiles.reading.validator import first_fault, value_of
from ..bundle.envelope import Sha256
from ..bundle.files import regular_files
from ..bundle.manifest import MANIFEST, Bundle, file_entry

SCHEMA = 1
INDEX = "index.json"
HINT = "Copy the package again, whole, or make it again with `edgepress pack`."
# The first that the format can write; a date of its own would make each package another one.
_DATE = (1980, 1, 1, 0, 0, 0)
_BLOCK = 1 << 20
_ENCRYPTED = 1  # bit of a member's flags


def _inside(name: str) -> str:
    """A relative path with forward slashes that leads nowhere else."""
    path = PurePosixPath(name)
    odd = path.is_absolute() or ".." in path.parts or path.as_posix() != name or name == "." or "\\" in name
    if odd or not name.isprintable():
        raise ValueError("expected a path inside the bundle, with forward slashes")
    return name


Inside = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_inside)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFile:
    """sha256 (hex) and size in bytes of a file, and whether it is a program."""

    sha256: Sha256
    size: Annotated[int, Field(ge=0, strict=True)]
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A bundle in a package: its name, and its files by theirs."""

    name: Inside
    files: Mapping[Inside, PackedFile]

    @property
    def digest(self) -> str:
        """Sha256 in hex over the names and hashes of its files, in the order of their names."""
        lines = (f"{name} {file.sha256}\n" for name, file in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """`index.json`: the bundles in the order in which a device is to look at them."""

    schema: int = SCHEMA
    model: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package on disk."""

    path: Path
    index: Index

    def extract(self, variant: Variant, directory: Path, names: Collection[str] | None = None) -> None:
        """Write files of a variant into a new directory, each compared with its hash.

        Args:
            names: which; by default all.

        Raises:
            VerificationError: a file is not what the index says.
        """
        directory.mkdir(parents=True)
        with ZipFile(self.path) as archive:
            for name, file in sorted(variant.files.items()):
                if names is None or name in names:
                    path = directory / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._write(archive, name, file, path)
                    path.chmod(0o755 if file.executable else 0o644)

    def _write(self, archive: ZipFile, name: str, file: PackedFile, path: Path) -> None:
        digest, size = hashlib.sha256(), 0
        try:
            with archive.open(_member(file)) as source, path.open("xb") as sink:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
                    sink.write(block)
        except (BadZipFile, EOFError, KeyError) as error:
            raise VerificationError(f"{self.path}: {name} is damaged.", hint=HINT) from error
        if (digest.hexdigest(), size) != (file.sha256, file.size):
            raise VerificationError(f"{self.path}: {name} is not the file that its index names.", hint=HINT)


def write_package(path: Path, model: str, bundles: Iterable[Bundle]) -> Index:
    """Write a package, whole or not at all.

    Args:
        bundles: whose files were compared with their manifests.
    """
    packed = [(bundle, _variant(bundle)) for bundle in bundles]
    index = Index(model=model, variants=tuple(variant for _, variant in packed))
    sources = {_member(file): bundle.path / name for bundle, variant in packed for name, file in variant.files.items()}
    with whole(path) as scratch, ZipFile(scratch, "w", ZIP_STORED) as archive:
        archive.writestr(ZipInfo(INDEX, _DATE), json.dumps(to_jsonable_python(index), indent=1, sort_keys=True))
        for member, source in sorted(sources.items()):
            _store(archive, member, source)
    return index


def read_package(path: Path) -> Package:
    """Read a package's index, and see that the archive holds what it names and no more.

    Raises:
        UnreadableError: it is no package, of another schema, or cut off.
    """
    with opened(path, what="is no package of edgepress", hint=HINT) as file, _archive(file) as archive:
        members = archive.infolist()
        index = _index(path, _text(archive, members))
        wanted = {_member(file): file.size for variant in index.variants for file in variant.files.values()}
        if fault := next(_faults({**wanted, INDEX: members[0].file_size}, members), ""):
            raise UnreadableError.of(path, fault, what="is damaged", hint=HINT)
        return Package(path=path, index=index)


def _variant(bundle: Bundle) -> Variant:
    files = {}
    for name, path in regular_files(bundle.path).items():
        entry = file_entry(path)
        files[name] = PackedFile(sha256=entry.sha256, size=entry.size, executable=bool(path.stat().st_mode & 0o100))
    return Variant(name=bundle.path.resolve().name, files=files)


def _store(archive: ZipFile, member: str, source: Path) -> None:
    entry = ZipInfo(member, _DATE)
    entry.file_size = source.stat().st_size  # so that it knows whether the member needs ZIP64
    with source.open("rb") as file, archive.open(entry, "w") as sink:
        shutil.copyfileobj(file, sink, _BLOCK)


def _member(file: PackedFile) -> str:
    return f"files/{file.sha256}"


def _archive(file: BinaryIO) -> ZipFile:
    try:
        return ZipFile(file)
    except OSError as error:  # of a file that was cut off it seeks to before its start
        raise BadZipFile("File is cut off") from error


def _text(archive: ZipFile, members: list[ZipInfo]) -> bytes:
    """The index's text; it is the first member, and what a device keeps in memory."""
    if not members or members[0].filename != INDEX:
        raise ValueError(f"it does not begin with {INDEX}")
    if members[0].file_size > MOST or members[0].compress_type != ZIP_STORED:
        raise ValueError(f"its {INDEX} is compressed, or larger than any")
    return archive.read(members[0])


def _index(path: Path, text: bytes) -> Index:
    data = decoded(text)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise UnreadableError.of(path, f"its schema is {found!r}, and this edgepress reads {SCHEMA}", hint=HINT)
    try:
        index = value_of(Index, data)
    except ValidationError as error:
        raise UnreadableError.of(path, first_fault(error), what="is damaged", hint=HINT) from error
    names = [variant.name for variant in index.variants]
    if not names or len(set(names)) < len(names):
        raise UnreadableError.of(path, "it has no bundle, or one twice", what="is damaged", hint=HINT)
    for variant in index.variants:
        above = {parent.as_posix() for name in variant.files for parent in PurePosixPath(name).parents}
        if MANIFEST not in variant.files or not above.isdisjoint(variant.files):
            what = f"{variant.name} has no {MANIFEST}, or a file that is a directory too"
            raise UnreadableError.of(path, what, what="is damaged", hint=HINT)
    return index


def _faults(wanted: Mapping[str, int], members: list[ZipInfo]) -> Iterator[str]:
    """What is wrong with the members of an archive, by the sizes that they have to have."""
    found = {member.filename: member.file_size for member in members}
    if len(found) < len(members):
        yield "it has a member twice"
    if found != wanted:
        odd = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        yield f"{odd[0]} is missing, of another size, or not in its index"
    if any(one.compress_type != ZIP_STORED or one.flag_bits & _ENCRYPTED for one in members):
        yield "it has members that are compressed or encrypted, which packages never are"
