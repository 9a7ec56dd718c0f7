"""Files that exist whole or not at all, and renames in one step."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgepress.profiles.machine import renames
from edgepress.profiles.machine.renames import exchanged, rename_new
from edgepress.profiles.machine.writing import whole, write_whole


@pytest.fixture(params=[0o022, 0o077])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_file_is_as_open_as_the_umask_says(tmp_path: Path, mask: int) -> None:
    for _ in range(2):
        write_whole(tmp_path / "file", "text")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "old")
    with pytest.raises(ValueError, match="x"), whole(tmp_path / "file") as scratch:
        scratch.write_text("half")
        raise ValueError("x")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_directories_change_places(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    if not exchanged(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot")
    assert (tmp_path / "a" / "b").exists()
    assert (tmp_path / "b" / "a").exists()


@pytest.fixture(params=[False, True], ids=["in one step", "without"])
def bare(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not have the step."""
    if request.param:
        monkeypatch.setattr(renames, "_UNKNOWN", renames._UNKNOWN | {errno.EEXIST})


def test_a_name_that_something_has_is_not_taken(tmp_path: Path, bare: None) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("empty", "link"):
        with pytest.raises(FileExistsError):
            rename_new(tmp_path / "new", tmp_path / name)
    rename_new(tmp_path / "new", tmp_path / "free")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "free", "link"]


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rename_new(tmp_path / "absent", tmp_path / "free")
