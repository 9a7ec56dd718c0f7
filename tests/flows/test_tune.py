"""`edgepress tune` as its user meets it: a bundle and its recipe, or the nearest points; killed, it goes on."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ._flow import EDGEPRESS, SMALL, Cli, Ran, read

EVALUATE = """


def evaluate(predict):
    x = np.concatenate([batch(i) for i in range(20, 30)])
    with torch.no_grad():
        wanted = model().eval()(torch.from_numpy(x)).argmax(1).numpy()
    return float((next(iter(predict({"input": x}).values())).argmax(1) == wanted).mean())
"""
OPTIONS = ("-t", "server-cpu", "--threads", "1", "--recipe", "fixed.toml", "--trials", "3")


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """A small model with a metric, and a recipe that closes all settings but the precision and the ranges."""
    path = tmp_path / "small.py"
    path.write_text(SMALL + EVALUATE)
    (tmp_path / "fixed.toml").write_text("measure = false\n")
    return path


def test_the_bundle_is_what_its_recipe_makes_again(cli: Cli, judged: Path, tmp_path: Path) -> None:
    ran = cli("tune", judged, *OPTIONS, "--max-size", "1MB", "--max-drop", "5%")
    assert ran.code == 0, ran.err
    bundle, search = tmp_path / "dist/small-server-cpu", tmp_path / "dist/small-server-cpu.tune"
    assert "Latency is not measured: it is switched off" in ran.out
    kept = {verdict["what"]: verdict["status"] for verdict in read(bundle)["budget"]}
    assert kept == {"size": "met", "accuracy_drop": "met"}
    assert cli("verify", bundle).code == 0
    found = read(search, "results.json")
    assert found["chosen"] in found["front"]
    kept = {int(path.name) for path in (search / "trials").iterdir()}
    assert kept == set(found["front"])
    assert (search / "pareto.svg").stat().st_size > 1000
    assert "Search: " in (search / "report.html").read_text()
    assert (search / "pareto.png").read_bytes().startswith(b"\x89PNG")
    again = cli("export", judged, "-t", "server-cpu", "--recipe", search / "recipe.toml", "-o", "again", "-q")
    assert again.code == 0, again.err
    one, two = (read(path, "manifest.json") for path in (bundle, tmp_path / "again/small-server-cpu"))
    assert one["files"] == two["files"]
    assert one["recipe"] == two["recipe"]


def test_a_budget_that_nothing_keeps_is_code_3_with_the_nearest_points(cli: Cli, judged: Path, tmp_path: Path) -> None:
    ran = cli("tune", judged, *OPTIONS, "--max-size", "2kB")
    ran.failed(3, "None of 3 points keeps the budget (size 2kB, accuracy_drop 1%)", "Nearest: ", "misses size by")
    assert "--trials" in ran.err
    assert "Nearest points" in ran.out
    assert not (tmp_path / "dist/small-server-cpu").exists()
    assert (tmp_path / "dist/small-server-cpu.tune/study.db").exists()
    # The study goes on under another budget, without a trial more.
    more = cli("tune", judged, *OPTIONS, "--max-size", "1MB", "--json")
    assert more.code == 0, more.err
    assert Path(json.loads(more.out)["bundle"]).name == "small-server-cpu"


def test_what_cannot_be_searched_for_is_said_before_any_work(cli: Cli, judged: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(SMALL)
    cli("tune", judged, "-t", "jetson", "--max-latency", "1ms").failed(5, "cannot be searched for here", "device")
    cli("tune", "plain.py", "-t", "cpu", "--max-drop", "1%").failed(1, "`max_drop` needs a metric", "evaluate()")
    cli("tune", judged, "-t", "cpu,jetson").failed(1, "One target is tuned for at a time")
    cli("tune", judged, "-t", "cpu", "--max-size", "0MB").failed(1, "more than 0")
    cli("tune", judged, "-t", "cpu", "--storage", "nothing://x").failed(1, "cannot be opened as a study")
    assert cli("tune", judged, "-t", "cpu", "--timeout", "5").code == 2
    assert not (tmp_path / "dist").exists()


@pytest.mark.slow
def test_the_study_of_another_model_is_refused_and_left_as_it_is(cli: Cli, judged: Path, tmp_path: Path) -> None:
    assert cli("tune", judged, *OPTIONS, "--max-size", "1MB", "--storage", "s.db", "-q").code == 0
    before = _trials(tmp_path / "s.db")
    judged.write_text(judged.read_text().replace("manual_seed(0)", "manual_seed(1)"))
    again = ("tune", judged, *OPTIONS, "--storage", "s.db", "--force")
    cli(*again).failed(1, "s.db holds a study of something else: its model is not this one's", "--storage")
    assert _trials(tmp_path / "s.db") == before


@pytest.mark.slow
def test_two_processes_share_a_study_and_a_third_exports(
    cli: Cli, environment: dict[str, str], judged: Path, tmp_path: Path
) -> None:
    words = [EDGEPRESS, "tune", judged, *OPTIONS[:-1], "6", "--storage", "shared.db", "--max-size", "1MB", "-q"]
    both = [subprocess.Popen([*words, "--search-only"], cwd=tmp_path, env=environment) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    query = "SELECT value_json FROM trial_user_attributes WHERE key = 'result'"
    with closing(sqlite3.connect(tmp_path / "shared.db")) as database:
        points = [json.dumps(json.loads(text)["point"], sort_keys=True) for (text,) in database.execute(query)]
    assert len(points) == len(set(points)) >= 6
    assert not (tmp_path / "dist/small-server-cpu").exists()
    assert cli(*words[1:], "--trials", "1").code == 0
    assert cli("verify", tmp_path / "dist/small-server-cpu").code == 0


@pytest.mark.slow
def test_digits_meets_a_budget_that_plain_int8_misses_and_survives_two_kills(
    command: Callable[..., Ran], environment: dict[str, str], examples: Path, tmp_path: Path
) -> None:
    source, budget = examples / "digits.py", ("--max-size", "400kB", "--max-drop", "1%")
    plain = command("export", source, "-t", "cpu", "--precision", "int8", "-o", "plain", "-q", *budget, cwd=tmp_path)
    plain.failed(3, "size: 0.4", "400kB asked")
    words = [EDGEPRESS, "tune", source, "-t", "cpu", "--trials", "10", *budget]
    finished: list[dict[int, dict[str, Any]]] = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for count in (3, 6):
        process = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        _wait(lambda count=count: len(_finished(tmp_path)) >= count, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        finished.append(_finished(tmp_path))
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.wait(timeout=1800) == 0, process.communicate()[1]
    # Ten minutes on two cores, whatever else the machine does meanwhile.
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2 * 600
    for earlier in finished:
        assert earlier.items() <= _finished(tmp_path).items()
    points = [json.dumps(result["point"], sort_keys=True) for result in _finished(tmp_path).values()]
    assert len(points) == len(set(points))
    bundle = read(tmp_path / "dist/digits-cpu")
    assert {verdict["status"] for verdict in bundle["budget"]} <= {"met", "undecided"}
    assert bundle["sizes"]["engine"] <= 400_000
    assert os.listdir(tmp_path / "dist/digits-cpu.tune/trials")


def _wait(come: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 900
    while not come():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.2)


def _finished(directory: Path) -> dict[int, dict[str, Any]]:
    """What the finished trials of the digits' study found, by number, read by nothing but SQL."""
    path = directory / "dist/digits-cpu.tune/study.db"
    query = (
        "SELECT number, value_json FROM trials JOIN trial_user_attributes USING (trial_id) "
        "WHERE state IN ('COMPLETE', 'PRUNED') AND key = 'result'"
    )
    if not path.exists():
        return {}
    with closing(sqlite3.connect(path, timeout=60)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        rows = database.execute(query).fetchall() if "trial_user_attributes" in tables else []
    return {int(number): json.loads(text) for number, text in rows}


def _trials(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT * FROM trials").fetchall()
