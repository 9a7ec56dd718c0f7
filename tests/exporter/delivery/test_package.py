"""A package gives back what was packed, and what was changed in it is seen before a file of it is used."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest

from edgepress.errors import EdgepressError
from edgepress.exporter.delivery.package import read_package

CONTENT = {"manifest.json": b"{}", "engine/model.ort": bytes(range(200)), "engine/build.sh": b"#!/bin/sh\n"}
Change = Callable[[dict[str, Any]], object]


def written(
    path: Path, *, change: Change = lambda index: None, how: int = ZIP_STORED, more: tuple[str, bytes] | None = None
) -> Path:
    """A package of one variant as `edgepress pack` writes it, but for what is changed in its index."""
    files = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "executable": name.endswith(".sh")}
        for name, data in CONTENT.items()
    }
    index: dict[str, Any] = {"schema": 1, "model": "net", "variants": [{"name": "net-cpu", "files": files}]}
    members = {f"files/{entry['sha256']}": CONTENT[name] for name, entry in files.items()}
    change(index)
    with ZipFile(path, "w", how) as archive:
        archive.writestr(ZipInfo("index.json"), json.dumps(index))
        for member, data in sorted(members.items()):
            archive.writestr(member, data)
        if more is not None:
            archive.writestr(*more)
    return path


def unpacked(path: Path, directory: Path) -> dict[str, bytes]:
    package = read_package(path)
    (variant,) = package.index.variants
    package.extract(variant, directory)
    return {str(f.relative_to(directory)): f.read_bytes() for f in directory.rglob("*") if f.is_file()}


def test_what_was_packed_comes_out(tmp_path: Path) -> None:
    assert unpacked(written(tmp_path / "p"), tmp_path / "out") == CONTENT
    modes = {name: (tmp_path / "out" / name).stat().st_mode & 0o777 for name in CONTENT}
    assert modes == {"manifest.json": 0o644, "engine/model.ort": 0o644, "engine/build.sh": 0o755}


@pytest.mark.parametrize(
    "name",
    [
        "../out",
        "/etc/passwd",
        "engine/../../x",
        "a//b",
        "./a",
        "a/",
        "a\\b",
        "",
        ".",
        "a\x1b[2Jb",
        "engine/model.ort/x",
    ],
)
def test_a_file_never_leaves_its_directory(tmp_path: Path, name: str) -> None:
    def renamed(index: dict[str, Any]) -> None:
        files = index["variants"][0]["files"]
        files[name] = files["engine/build.sh"]

    with pytest.raises(EdgepressError, match="is damaged"):
        read_package(written(tmp_path / "p", change=renamed))


CHANGES: dict[str, Change] = {
    "another schema": lambda index: index.update(schema=2),
    "no manifest": lambda index: index["variants"][0]["files"].pop("manifest.json"),
    "a file that is not there": lambda index: index["variants"][0]["files"]["manifest.json"].update(sha256="0" * 64),
    "another size": lambda index: index["variants"][0]["files"]["manifest.json"].update(size=1 << 40),
    "a size below nothing": lambda index: index["variants"][0]["files"]["manifest.json"].update(size=-1),
    "a hash that is a path": lambda index: index["variants"][0]["files"]["manifest.json"].update(sha256="../../x"),
    "no variant": lambda index: index.update(variants=[]),
    "a variant twice": lambda index: index.update(variants=index["variants"] * 2),
    "a variant that is text": lambda index: index.update(variants=["net-cpu"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_index_that_is_wrong_is_refused(tmp_path: Path, change: str) -> None:
    with pytest.raises(EdgepressError, match=r"p (is|cannot)"):
        read_package(written(tmp_path / "p", change=CHANGES[change]))


def test_an_archive_holds_what_its_index_names_uncompressed_and_no_more(tmp_path: Path) -> None:
    with pytest.raises(EdgepressError, match="compressed"):
        read_package(written(tmp_path / "p", how=ZIP_DEFLATED))
    with pytest.raises(EdgepressError, match="files/extra is missing, of another size, or not in its index"):
        read_package(written(tmp_path / "q", more=("files/extra", b"x")))
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = written(tmp_path / "r", more=("index.json", b"x"))
    with pytest.raises(EdgepressError, match="twice"):
        read_package(twice)
    for name, data in (("empty", b""), ("other", b"PK\x03\x04 and no more"), ("text", b"net" * 99)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(EdgepressError, match=f"{name} is no package of edgepress"):
            read_package(tmp_path / name)


def test_a_changed_byte_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    """Dates and the like in the archive's own records decide nothing; every byte of a file does."""
    path = written(tmp_path / "p")
    sound, chance, seen = path.read_bytes(), random.Random(0), 0
    for number in range(300):
        data = bytearray(sound)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            assert unpacked(path, tmp_path / f"out{number}") == CONTENT
        except EdgepressError:
            seen += 1
    assert seen > 150


def test_one_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "p")
    sound = path.read_bytes()
    for size in range(0, len(sound), 37):
        path.write_bytes(sound[:size])
        with pytest.raises(EdgepressError, match="p is no package"):
            read_package(path)
