"""Files that exist whole or not at all, and renames in one step."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
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


def test_a_file_lands_where_its_name_led_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with whole(Path("file")) as scratch:
        os.chdir("elsewhere")
        scratch.write_text("text")
    assert (tmp_path / "file").read_text() == "text"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to("place/file")
    for text in ("one", "two"):
        write_whole(tmp_path / "link", text)
        assert (tmp_path / "place" / "file").read_text() == text
        assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["file"]


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(tmp_path / "pipe", "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_device_stays_one() -> None:
    controller, terminal = os.openpty()
    name = Path(os.ttyname(terminal))
    try:
        write_whole(name, "text")
        assert name.is_char_device()
        assert os.read(controller, 100) == b"text"
    finally:
        os.close(controller)
        os.close(terminal)


def test_what_standard_output_goes_to_is_added_to(tmp_path: Path) -> None:
    """Its name leads to the file itself, of which the shell may want more than this.

    By a link like /dev/stdout: that one is the whole machine's, and would be lost if this fails.
    """
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    (tmp_path / "log").write_text("before\n")
    code = """
import sys
from pathlib import Path
from edgepress.profiles.machine.writing import write_whole
write_whole(Path(sys.argv[1]), "text\\n")
print("after")
"""
    with (tmp_path / "log").open("a") as log:
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "stdout")], stdout=log, check=True)
    assert (tmp_path / "log").read_text() == "before\ntext\nafter\n"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "there", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
