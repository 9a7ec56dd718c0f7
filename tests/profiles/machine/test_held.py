"""What a dead process left is known by a lock that nobody holds; nothing else is ever touched."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgepress.profiles.machine import held
from edgepress.profiles.machine.held import ASIDE, MARK, clean, leftovers

HOLD = """
import sys, time
from pathlib import Path
from edgepress.profiles.machine.held import held
with held(Path(sys.argv[1]), ".net-cpu.", aside_of="net-cpu") as directory:
    (directory / "deep").mkdir()
    (directory / "deep" / "file").write_bytes(b"0" * 1000)
    (directory / "link").symlink_to(sys.argv[2])
    print(directory, flush=True)
    time.sleep(100)
"""
Hold = Callable[[], tuple[subprocess.Popen[str], Path]]


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """What a leftover points to."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis").write_text("years")
    return tmp_path / "precious"


@pytest.fixture
def hold(tmp_path: Path, precious: Path) -> Iterator[Hold]:
    """Starts a process that holds a directory."""
    begun = []

    def start() -> tuple[subprocess.Popen[str], Path]:
        (tmp_path / "out").mkdir(exist_ok=True)
        words = [sys.executable, "-c", HOLD, str(tmp_path / "out"), str(precious)]
        begun.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        assert begun[-1].stdout is not None
        return begun[-1], Path(begun[-1].stdout.readline().strip())

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_the_dead_go_and_the_living_stay(hold: Hold, precious: Path, tmp_path: Path) -> None:
    (one, dead), (_, alive) = hold(), hold()
    assert leftovers(tmp_path / "out") == clean(tmp_path / "out") == []
    killed(one)
    (found,) = leftovers(tmp_path / "out")
    assert found.path == dead
    assert 1000 <= found.bytes < 1200
    assert clean(tmp_path / "out") == [found]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [alive.name]
    assert (alive / "deep" / "file").stat().st_size == 1000
    assert (precious / "thesis").read_text() == "years"


def test_what_was_set_aside_comes_back_unless_something_is_there(hold: Hold, tmp_path: Path) -> None:
    for there in (False, True):
        process, directory = hold()
        (directory / ASIDE).mkdir()
        (directory / ASIDE / "old").write_text("old")
        killed(process)
        if there:
            (tmp_path / "out" / "net-cpu" / "old").write_text("new")
        assert len(clean(tmp_path / "out")) == 1
        assert (tmp_path / "out" / "net-cpu" / "old").read_text() == ("new" if there else "old")


def test_what_was_not_made_here_stays(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "edgepress-models").mkdir()
    (tmp_path / "edgepress-link").symlink_to(precious)
    (tmp_path / "edgepress-file").write_text("")
    (tmp_path / ".net-cpu.0123456789abcdef").mkdir()
    (precious / MARK).write_text("x\n\n")
    assert clean(tmp_path) == []
    assert clean(tmp_path / "nowhere") == []
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", [".", MARK])
def test_another_users_leftovers_stay(hold: Hold, tmp_path: Path, what: str) -> None:
    process, directory = hold()
    killed(process)
    os.chown(directory / what, 12345, 12345)
    assert clean(tmp_path / "out") == []
    assert (directory / "deep" / "file").exists()


def test_a_lock_of_another_machine_on_a_shared_file_system_is_not_taken_for_dead(
    hold: Hold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, directory = hold()
    killed(process)
    (directory / MARK).write_text("another-machine\nnet-cpu\n")
    monkeypatch.setattr(held.os, "major", lambda device: 0)
    monkeypatch.setattr(held, "_file_system", lambda device: "nfs4")

    assert clean(tmp_path / "out") == []
    monkeypatch.setattr(held.os, "major", lambda device: 8)
    assert len(clean(tmp_path / "out")) == 1


def test_what_was_left_before_a_restart_is_dead_where_the_file_system_is_this_machines_alone(tmp_path: Path) -> None:
    """As on the layers of a container, which have no device number of their own and outlive the kernel's identity."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or os.major(memory.stat().st_dev) != 0:
        pytest.skip("there is no file system in memory here")
    parent = Path(tempfile.mkdtemp(dir=memory))
    try:
        (parent / ".net-cpu.abcd1234").mkdir()
        (parent / ".net-cpu.abcd1234" / MARK).write_text("before-the-restart\nnet-cpu\n")
        assert len(leftovers(parent)) == len(clean(parent)) == 1
        assert list(parent.iterdir()) == []
    finally:
        shutil.rmtree(parent)


def test_a_cleaning_that_is_cut_short_is_gone_on_with(
    hold: Hold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, directory = hold()
    killed(process)
    remove = shutil.rmtree

    def cut(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", cut)
    with pytest.raises(KeyboardInterrupt):
        clean(tmp_path / "out")
    monkeypatch.setattr(shutil, "rmtree", remove)
    assert directory.exists()
    assert len(clean(tmp_path / "out")) == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_what_its_process_or_another_cleaner_removes_meanwhile_is_no_leftover(
    hold: Hold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening of the mark and the taking of its lock."""
    free = held._free

    def late(lock: int) -> bool:
        for directory in list((tmp_path / "out").iterdir()):
            shutil.rmtree(directory)
        return free(lock)

    for look in (leftovers, clean):
        process, _ = hold()
        killed(process)
        with monkeypatch.context() as patched:
            patched.setattr(held, "_free", late)
            assert look(tmp_path / "out") == []


def test_cleaning_while_others_begin_takes_nothing_from_them(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from edgepress.profiles.machine.held import clean, held
for turn in range(150):
    with held(Path(sys.argv[1]), "") as directory:
        (directory / "file").write_text("mine")
        clean(Path(sys.argv[1]))
        assert (directory / "file").read_text() == "mine"
"""
    run = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in run] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_every_directory_in_the_temporary_one_is_held() -> None:
    """Others lie inside of one that is."""
    package = Path(held.__file__).parents[2]
    files = [
        file for room in ("backends", "calibration", "exporter", "profiles") for file in (package / room).rglob("*.py")
    ]
    made = re.compile(r"(?:TemporaryDirectory|mkdtemp)\((?![^)]*dir=)")
    assert [file for file in files if made.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("marked", [False, True])
def test_one_that_came_no_further_than_its_name_goes_too(tmp_path: Path, marked: bool) -> None:
    """A kill between two steps: the directory is made, or its mark is too, and nothing is written there."""
    for name in ("edgepress-0123456789abcdef", ".net-cpu.edgepress-0123456789abcdef"):
        (tmp_path / name).mkdir()
        if marked:
            (tmp_path / name / MARK).touch()
    full = tmp_path / "edgepress-fedcba9876543210"
    full.mkdir()
    (full / "file").write_text("not ours")
    assert [one.bytes for one in leftovers(tmp_path)] == [0, 0]
    assert len(clean(tmp_path)) == 2
    assert list(tmp_path.iterdir()) == [full]


STRUCK = """
import os, signal, sys
from pathlib import Path
from edgepress.profiles.machine import held, interrupts
from edgepress.profiles.machine.writing import write_whole
sys.path.insert(0, {scripts!r})
from _attack.moments import strike

place = Path(sys.argv[1])
interrupts.listen()
strike(int(sys.argv[2]), signal.Signals[sys.argv[3]], os.getpid())
try:
    with held.held(place, ".net-cpu.") as directory:
        (directory / "file").write_text("x")
        write_whole(place / "kept", "new")
    print("done")
except KeyboardInterrupt:
    held.abandon()
    print("interrupted")
"""


@pytest.mark.parametrize("sent", ["SIGINT", "SIGKILL"])
def test_a_signal_before_any_file_operation_leaves_nothing_for_good(tmp_path: Path, sent: str) -> None:
    """Each operation in turn: an interrupt leaves nothing at once, a kill nothing that the next one does not sweep."""
    scripts = Path(__file__).resolve().parents[3] / "scripts"
    for number in range(100):
        place = tmp_path / str(number)
        place.mkdir()
        (place / "kept").write_text("old")
        words = [sys.executable, "-c", STRUCK.format(scripts=str(scripts)), str(place), str(number), sent]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (place / "kept").read_text() in ("old", "new")
        if sent == "SIGKILL":
            clean(place)
        assert [path.name for path in place.iterdir()] == ["kept"], number
        if done.stdout == "done\n":
            break
    assert 10 < number < 99


def test_one_that_is_looked_at_while_it_is_made_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks holds the lock for a moment: the maker begins again, and takes what it began away."""
    write, looking = os.write, list[int]()

    def looked_at(file: int, data: bytes) -> int:
        written = write(file, data)
        if not looking:
            (directory,) = tmp_path.iterdir()
            looking.append(os.open(directory / MARK, os.O_RDWR))
            fcntl.flock(looking[0], fcntl.LOCK_EX)
        return written

    monkeypatch.setattr(os, "write", looked_at)
    with held.held(tmp_path, "") as directory:
        assert list(tmp_path.iterdir()) == [directory]
    os.close(looking[0])
    assert list(tmp_path.iterdir()) == []


def test_one_goes_wherever_its_process_went_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with held.held(Path(), ".x."):
        os.chdir(tmp_path / "elsewhere")
    assert [list((tmp_path / name).iterdir()) for name in ("here", "elsewhere")] == [[], []]
