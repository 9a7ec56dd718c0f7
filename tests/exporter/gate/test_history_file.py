"""The history file: appended to by many at once, and what a kill or a full disk leaves of it."""

from __future__ import annotations

import json
import multiprocessing
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.exporter.gate.recording import append, commit
from edgepress.profiles.budget.figure import Figure
from edgepress.profiles.findings.history import Run, json_schema, line, load_history, series
from edgepress.profiles.machine.environment import this_machine
from edgepress.profiles.reporting.render import rendered
from edgepress.profiles.reporting.reportable import Trends

ROOT = Path(__file__).resolve().parents[3]
RUN = Run(
    kind="export",
    date="2026-01-01T00:00:00+00:00",
    model="digits",
    target="cpu",
    precision="int8",
    runtime="openvino 2026.4.1",
    source="0" * 64,
    figures={"latency_p50": Figure(value=1.0, low=0.9, high=1.1, unit="ms"), "size": Figure.exact(1000, "bytes")},
    machine=this_machine(),
    tools={"numpy": "2"},
    verdicts={"size": "met"},
)


def written(path: Path, writer: int, runs: int, together: int) -> None:
    for index in range(runs):
        # Long lines: a write that is not one piece would show.
        one = replace(RUN, model=f"writer-{writer}", source="x" * 9000, date=f"{index:05}")
        append(path, [replace(one, target=str(part)) for part in range(together)])


def test_writers_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=written, args=(path, writer, 20, 3)) for writer in range(6)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
        assert process.exitcode == 0
    found = load_history(path)
    assert not found.cut
    assert len(found.runs) == 6 * 20 * 3
    # The runs of one call stand together, in order.
    calls = [found.runs[at : at + 3] for at in range(0, len(found.runs), 3)]
    assert {tuple(run.target for run in call) for call in calls} == {("0", "1", "2")}
    assert all(len({run.model for run in call}) == 1 for call in calls)


def test_a_line_that_was_cut_off_costs_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    append(path, [RUN, replace(RUN, model="second")])
    path.write_bytes(path.read_bytes()[:-40])
    assert [run.model for run in load_history(path).runs] == ["digits"]
    append(path, [replace(RUN, model="third")])
    found = load_history(path)
    assert [run.model for run in found.runs] == ["digits", "third"]
    assert found.cut == {2: "it is not JSON to its end"}
    assert path.read_bytes().endswith(b"\n")
    assert b"\n\n" not in path.read_bytes()


def full(path: Path, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        append(path, [replace(RUN, model="too much", source="x" * 100_000)])
    except OSError:
        raise SystemExit(7) from None


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    append(path, [RUN])
    before = path.read_bytes()
    process = multiprocessing.get_context("fork").Process(target=full, args=(path, len(before) + 500))
    process.start()
    process.join(60)
    assert process.exitcode == 7
    assert path.read_bytes() == before


def test_what_is_no_history_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_history(tmp_path / "none.jsonl")
    other = tmp_path / "other.jsonl"
    other.write_text('{"a": 1}\n')
    with pytest.raises(InputError, match="is no history: line 1"):
        load_history(other)
    other.write_text(json.dumps({**json.loads(line(RUN)), "schema": 2}) + "\n")
    with pytest.raises(InputError, match="schema 2"):
        load_history(other)
    other.write_text("")
    assert load_history(other).runs == ()


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    append(path, [RUN])
    assert load_history(path).runs == (RUN,)
    assert (ROOT / "docs/history.schema.json").read_text() == json_schema(), (
        "python -m edgepress.profiles.findings.history > docs/history.schema.json"
    )


def test_trends_are_drawn_by_model_and_target(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    for day in range(1, 6):
        latency = Figure(value=1.0 + day, low=0.9 + day, high=1.1 + day, unit="ms", unsteady="busy" if day == 2 else "")
        later = replace(RUN, date=f"2026-01-0{day}T00:00:00+00:00", figures={**RUN.figures, "latency_p50": latency})
        append(path, [later, replace(later, target="rpi5", figures={"size": Figure.exact(500 + day, "bytes")})])
    with path.open("ab") as file:
        file.write(b'{"cut')
    found = load_history(path)
    assert {key: len(runs) for key, runs in series(found.runs).items()} == {("digits", "cpu"): 5, ("digits", "rpi5"): 5}
    page = rendered([Trends(name="h.jsonl", history=found)], "html", "2026-01-09")
    assert page.count("<svg") == 3  # latency and size on cpu, size alone on rpi5
    assert "2.000 ms to 6.000 ms (+200.0%). A ring marks an unstable run." in page.replace("\N{NO-BREAK SPACE}", " ")
    assert page.count('class="ring"') == 1
    assert "Line 11 was left out" in page
    text = rendered([Trends(name="h.jsonl", history=found)], "md", "2026-01-09")
    assert "| 2026-01-05 | 6.000 [5.900, 6.100] ms |  |" in text


def test_a_commit_is_told_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == ""
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    (tmp_path / "a").write_text("a")
    for words in (("init", "-q"), ("add", "a"), (*author, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *words], check=True)
    clean = commit()
    assert len(clean) == 40
    (tmp_path / "a").write_text("b")
    assert commit() == f"{clean}-dirty"
