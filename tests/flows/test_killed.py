"""`kill -9` at any moment: the next run removes what it left, and nothing that another one uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ._flow import EDGEPRESS, SMALL, Cli
from .test_interrupt import MOMENTS, REACHED, wait_for

Start = Callable[[str], subprocess.Popen[str]]
FAST = ("-t", "server-cpu", "-o", "out", "--precision", "fp32", "--no-measure", "-q")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    path = tmp_path / "temporary"
    path.mkdir()
    return path


@pytest.fixture
def begun(tmp_path: Path, temporary: Path, environment: dict[str, str]) -> Iterator[Start]:
    """An export in a directory `work`, that has come to a moment and waits there."""
    (tmp_path / "work").mkdir()
    running = []

    def start(moment: str, name: str = "net") -> subprocess.Popen[str]:
        work = tmp_path / "work"
        (work / f"{name}.py").write_text(REACHED.replace("60", "600") + SMALL.replace(*MOMENTS[moment], 1))
        (work / "reached").unlink(missing_ok=True)
        words = [EDGEPRESS, "export", f"{name}.py", "-t", "server-cpu", "-o", "out"]
        env = {**environment, "TMPDIR": str(temporary)}
        running.append(subprocess.Popen(words, cwd=work, env=env, stderr=subprocess.PIPE, text=True))
        wait_for(work / "reached", running[-1])
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def hidden(directory: Path) -> set[str]:
    """What runs leave, or use; torch's own cache is not ours."""
    return {path.name for path in directory.iterdir() if path.name.startswith((".", "edgepress-"))}


@pytest.mark.parametrize(
    "moment",
    [
        "calibration",
        pytest.param("capture", marks=pytest.mark.slow),
        pytest.param("evaluate", marks=pytest.mark.slow),
        pytest.param("measure", marks=pytest.mark.slow),
    ],
)
def test_the_next_run_removes_what_a_killed_one_left_and_nothing_of_a_living_one(
    begun: Start, cli: Cli, tmp_path: Path, temporary: Path, moment: str
) -> None:
    work, env = tmp_path / "work", {"TMPDIR": str(temporary)}
    living = begun(moment)
    used = hidden(work / "out"), hidden(temporary)
    assert all(used)
    dead = begun(moment, "other")
    time.sleep(0.3)
    dead.send_signal(signal.SIGKILL)
    dead.wait(30)
    left = hidden(work / "out") - used[0], hidden(temporary) - used[1]
    assert all(left)

    ran = cli("doctor", "--json", "out", cwd=work, env=env)
    told = json.loads(ran.out)["leftovers"]
    assert (told["removed"], told["directories"]) == (False, len(left[0]) + len(left[1]))
    assert told["bytes"] > 0

    (work / "third.py").write_text(SMALL)
    ran = cli("export", "third.py", *FAST, cwd=work, env=env)
    assert ran.code == 0, ran.err
    assert (hidden(work / "out"), hidden(temporary)) == used
    assert living.poll() is None
    assert "left" not in cli("doctor", "out", cwd=work, env=env).out


def test_doctor_removes_them_and_says_how_much_it_was(begun: Start, cli: Cli, tmp_path: Path, temporary: Path) -> None:
    work, env = tmp_path / "work", {"TMPDIR": str(temporary)}
    process = begun("calibration")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    told = cli("doctor", "out", cwd=work, env=env)
    assert "Processes that were killed left" in told.out
    told = cli("doctor", "--clean", "out", cwd=work, env=env)
    assert "Removed what killed processes had left: " in told.out
    assert (hidden(work / "out"), hidden(temporary)) == (set(), set())
    assert "0 directories, 0 bytes" in cli("doctor", "--clean", "out", cwd=work, env=env).out


@pytest.mark.slow
def test_a_baseline_is_not_confused_by_what_lies_hidden_beside_it(cli: Cli, small: Path, tmp_path: Path) -> None:
    assert cli("export", small, *FAST).code == 0
    bundle = tmp_path / "out" / "small-server-cpu"
    for name in (".small-server-cpu.abcd1234", ".small-server-cpu.old.abcd1234"):
        (tmp_path / "out" / name).mkdir()
        os.link(bundle / "manifest.json", tmp_path / "out" / name / "manifest.json")
    (tmp_path / "new").mkdir()
    assert cli("export", small, *FAST[:2], "-o", "new", *FAST[4:]).code == 0
    ran = cli("check", "new/small-server-cpu", "--baseline", "out", "--no-measure")
    assert ran.code == 0, ran.err
