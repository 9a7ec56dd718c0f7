"""A study that several processes share, and that is killed: nothing finished is lost, and nothing is finished twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.exporter.tuning import owner, storage
from edgepress.exporter.tuning.claims import key_of
from edgepress.exporter.tuning.result import Result
from edgepress.exporter.tuning.space import Dimension, SearchPoint, Space
from edgepress.exporter.tuning.storage import explained
from edgepress.exporter.tuning.study import ATTEMPTS, Study, open_study

# A process that works on the study until nothing is left; what it begins and finishes goes into files.
WORKER = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_tuning_study import SPACE, opened, tried

directory, pause = Path(sys.argv[2]), float(sys.argv[3])
study = opened(directory / "study.db")
study.recover()
while study.run(SPACE, tried(directory, pause), lambda result: result.values(timed=False)):
    pass
"""


def _dimension(name: str, *values: str | int, integer: bool = False) -> Dimension:
    return Dimension(name=name, values=values, integer=integer, apply=lambda recipe, value: recipe)


SPACE = Space(
    dimensions=(
        _dimension("precision", "int8", "fp32"),
        _dimension("threads", 2, 1),
        _dimension("ranges", "auto", "mse", integer=True),
        _dimension("kept", 0, 1, integer=True),
    )
)
POINTS = [key_of(point) for point in SPACE.points()]


def opened(path: Path | str, *, identity: str = "m", name: str = "m-cpu") -> Study:
    return open_study(str(path), name, {"model": identity, "target": "t"}, objectives=2, seed=0)


def tried(directory: Path, pause: float) -> Callable[[int, SearchPoint], Result]:
    """An objective that tells the files when it begins and when it is done."""

    def objective(number: int, point: SearchPoint) -> Result:
        _append(directory / "begun", f"{number} {key_of(point)}")
        time.sleep(pause)
        _append(directory / "done", f"{number} {key_of(point)}")
        return Result(number=number, point=point, size=100 + number, loss=number / 100)

    return objective


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _worker(directory: Path, pause: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(directory), str(pause)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def _ended(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


def test_a_study_tries_every_point_once_and_then_says_that_none_is_left(tmp_path: Path) -> None:
    study = opened(tmp_path / "study.db")
    study.queue(SPACE.anchors())
    while study.run(SPACE, tried(tmp_path, 0), lambda result: result.values(timed=False)):
        assert study.finished() <= len(POINTS)
    keys = [key_of(result.point) for result in study.results()]
    assert sorted(keys) == sorted(POINTS)
    assert keys[:2] == [key_of(point) for point in SPACE.anchors()]


@pytest.mark.parametrize("queued", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_processes_finish_no_point_twice_and_lose_none(tmp_path: Path, queued: bool) -> None:
    if queued:
        opened(tmp_path / "study.db").queue(list(SPACE.points()))
    both = [_worker(tmp_path, 0.05), _worker(tmp_path, 0.05)]
    for process in both:
        _ended(process)
    keys = [key_of(result.point) for result in opened(tmp_path / "study.db").results()]
    assert sorted(keys) == sorted(POINTS)
    done = _lines(tmp_path / "done")
    assert sorted(line.split()[1] for line in done) == sorted(POINTS)
    assert len({line.split()[0] for line in done}) == len(POINTS)


def test_a_search_that_is_killed_twice_loses_nothing_finished_and_tries_again_what_it_was_at(tmp_path: Path) -> None:
    finished: list[set[str]] = []
    for count in (2, 5):
        process = _worker(tmp_path, 0.3)
        _wait(lambda count=count: len(_lines(tmp_path / "done")) >= count, process)
        _wait(lambda: len(_lines(tmp_path / "begun")) > len(_lines(tmp_path / "done")) + len(finished), process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        finished.append({key_of(result.point) for result in opened(tmp_path / "study.db").results()})
        assert len(finished[-1]) >= count - 1
    killed = {line.split()[1] for line in _lines(tmp_path / "begun")} - finished[-1]
    assert killed
    _ended(_worker(tmp_path, 0))
    keys = [key_of(result.point) for result in opened(tmp_path / "study.db").results()]
    assert sorted(keys) == sorted(POINTS)
    assert finished[0] <= finished[1] <= set(keys)


@pytest.mark.slow
def test_what_died_on_another_machine_is_tried_again_when_its_heartbeat_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = _worker(tmp_path, 60)
    _wait(lambda: _lines(tmp_path / "begun") != [], process)
    time.sleep(1)  # for the first heartbeat
    process.kill()
    process.wait()
    (begun,) = _lines(tmp_path / "begun")
    monkeypatch.setattr(owner, "place", lambda: "another machine")
    assert opened(tmp_path / "study.db").recover() == []
    monkeypatch.setattr(storage, "GRACE", 1)
    time.sleep(2)
    study = opened(tmp_path / "study.db")
    while study.run(SPACE, tried(tmp_path, 0), lambda result: result.values(timed=False)):
        pass
    keys = [key_of(result.point) for result in study.results()]
    assert sorted(keys) == sorted(POINTS)
    assert begun.split()[1] in keys


@pytest.mark.slow
def test_a_point_that_kills_its_process_is_not_tried_for_ever(tmp_path: Path) -> None:
    (only,) = list(Space(dimensions=(_dimension("precision", "fp32"),)).points())
    for _ in range(ATTEMPTS):
        process = _worker(tmp_path, 60)
        before = len(_lines(tmp_path / "begun"))
        opened(tmp_path / "study.db").queue([only])
        _wait(lambda before=before: len(_lines(tmp_path / "begun")) > before, process)
        process.kill()
        process.wait()
    first = _lines(tmp_path / "begun")[0].split()[1]
    _ended(_worker(tmp_path, 0))
    study = opened(tmp_path / "study.db")
    assert study.run(SPACE, tried(tmp_path, 0), lambda result: result.values(timed=False)) is False
    tries = [line.split()[1] for line in _lines(tmp_path / "begun")].count(first)
    assert tries <= ATTEMPTS


@pytest.mark.slow
def test_an_interrupted_point_is_tried_again_and_a_fault_is_not_hidden(tmp_path: Path) -> None:
    study = opened(tmp_path / "study.db")
    asked: list[str] = []

    def interrupted(number: int, point: SearchPoint) -> Result:
        asked.append(key_of(point))
        raise KeyboardInterrupt

    def broken(number: int, point: SearchPoint) -> Result:
        raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        study.run(SPACE, interrupted, lambda result: (0.0, 0.0))
    with pytest.raises(ZeroDivisionError):
        study.run(SPACE, broken, lambda result: (0.0, 0.0))
    while study.run(SPACE, tried(tmp_path, 0), lambda result: result.values(timed=False)):
        pass
    assert sorted(key_of(result.point) for result in study.results()) == sorted(POINTS)
    assert asked[0] in {line.split()[1] for line in _lines(tmp_path / "done")}


def test_points_given_up_early_are_results_and_are_not_tried_again(tmp_path: Path) -> None:
    study = opened(tmp_path / "study.db")

    def early(number: int, point: SearchPoint) -> Result:
        return Result(number=number, point=point, size=3, early="too large")

    while study.run(SPACE, early, lambda result: result.values(timed=False)):
        pass
    assert study.results() == []
    assert [result.early for result in study.results(early=True)] == ["too large"] * len(POINTS)


def test_a_study_of_another_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    opened(file)
    with pytest.raises(InputError, match=r"study\.db holds a study of something else: its model is not this one's"):
        opened(file, identity="another")
    with pytest.raises(InputError, match=r"study\.db holds the study of m-cpu, not of n-cpu"):
        opened(file, name="n-cpu")
    opened(file)


@pytest.mark.parametrize("place", ["text.db", "no-such-driver://host/db"])
def test_what_is_no_study_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "text.db").write_text("hello " * 1000)
    with pytest.raises(InputError, match="cannot be opened as a study"):
        opened(place if "://" in place else tmp_path / place)
    assert (tmp_path / "text.db").read_text() == "hello " * 1000


def _wait(come: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not come():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A study of a few trials."""
    directory = tmp_path_factory.mktemp("sound")
    study = opened(directory / "study.db")
    for _ in range(2):
        study.run(SPACE, tried(directory, 0), lambda result: result.values(timed=False))
    return (directory / "study.db").read_bytes()


def begun_again(directory: Path) -> None:
    """What `tune` does with a study that exists."""
    with explained(str(directory / "study.db")):
        study = opened(directory / "study.db")
        study.recover()
        study.run(SPACE, tried(directory, 0), lambda result: result.values(timed=False))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"precision"', b'"precision['),
        (b'{"name": ', b"[" * 9),
        (b'"machine"', b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        (b"CREATE TABLE trials", b"CREATE TABLE trialz"),
        (b'"size": 1', b'"size": N'),
        (b"SQLite format 3", b"SQLite format 2"),
    ],
    ids=str,
)
def test_a_damaged_study_is_one_message(tmp_path: Path, sound: bytes, old: bytes, new: bytes) -> None:
    assert old in sound
    (tmp_path / "study.db").write_bytes(sound.replace(old, new))
    with pytest.raises(InputError, match=r"study\.db cannot be (opened|read or written) as a study: .+"):
        begun_again(tmp_path)


def test_a_study_that_does_not_say_what_it_is_of_is_damaged(tmp_path: Path, sound: bytes) -> None:
    (tmp_path / "study.db").write_bytes(sound)
    with closing(sqlite3.connect(tmp_path / "study.db")) as database, database:
        database.execute("UPDATE study_user_attributes SET value_json = '0'")
    with pytest.raises(InputError, match="is damaged: it does not say what its study is of"):
        begun_again(tmp_path)


@pytest.mark.parametrize("page", [5, 11, 20, 27])
def test_a_study_with_a_lost_page_is_read_or_refused(tmp_path: Path, sound: bytes, page: int) -> None:
    (tmp_path / "study.db").write_bytes(sound[: page * 4096] + bytes(4096) + sound[(page + 1) * 4096 :])
    with suppress(InputError):
        begun_again(tmp_path)


def test_a_study_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "study.db")
    with pytest.raises(InputError, match="no regular file"):
        opened(tmp_path / "study.db")
