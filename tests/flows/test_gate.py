"""The gate as a CI job meets it: exit codes, a summary, JUnit XML, and verdicts that stand apart from each other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import edgepress
from edgepress.errors import BudgetError
from edgepress.exporter.gate.outlets import Outlets
from edgepress.exporter.gate.run import Gate
from edgepress.profiles.budget.budget import parse_limit
from edgepress.profiles.findings.report import TaskMetric
from edgepress.profiles.timing import in_turn as timing
from edgepress.profiles.timing.taking_turns import TurnsOfSet, take_turns

from ._flow import SMALL, Cli, read
from ._judged import JUDGED, copied, steady

QUICK = ("-t", "server-cpu", "--precision", "int8", "--no-measure", "-q")
# Attributes and children that the schema of Jenkins (junit-10.xsd) allows, of those that are written.
SHAPE = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
        {"properties", "testcase"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"skipped", "error", "failure", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}


def suites(path: Path) -> dict[str, dict[str, str]]:
    """How each test case ended, by suite; the document is held against the schema on the way."""
    root = ElementTree.parse(path).getroot()
    for element in root.iter():
        attributes, children = SHAPE[element.tag]
        assert set(element.attrib) <= attributes, element.attrib
        assert {child.tag for child in element} <= children
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
        assert int(suite.attrib["errors"]) == len(suite.findall("testcase/error"))
        assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
        assert all(float(case.attrib["time"]) >= 0 for case in cases)
    return {s.attrib["name"]: {c.attrib["name"]: c[0].tag for c in s.findall("testcase")} for s in root}


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    path = tmp_path / "judged.py"
    path.write_text(SMALL + JUDGED)
    return path


@pytest.fixture(scope="module")
def plain(forked: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle, which the tests have copies of."""
    directory = tmp_path_factory.mktemp("plain")
    (directory / "judged.py").write_text(SMALL + JUDGED)
    ran = forked("export", "judged.py", *QUICK, cwd=directory, temporary=directory / "temporary")
    assert ran.code == 0, ran.err
    return directory / "dist/judged-server-cpu"


@pytest.fixture
def bundle(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "plain/judged-server-cpu"))


def test_a_budget_that_is_met_is_code_0_with_each_verdict_apart(cli: Cli, judged: Path, tmp_path: Path) -> None:
    summary = tmp_path / "step.md"
    summary.write_text("# of the step before\n")
    budget = ("--budget", "size=1MB", "--budget", "accuracy_drop=1%", "--budget", "coverage=50%")
    words = ("export", judged, *QUICK, *budget, "--junit", "gate.xml", "--summary")
    ran = cli(*words, env={"GITHUB_STEP_SUMMARY": str(summary)})
    assert (ran.code, ran.out) == (0, ""), ran.err
    text = summary.read_text()
    assert text.startswith("# of the step before\n# edgepress\n\n**passed**\n")
    for what in ("correctness", "accuracy_drop", "size", "coverage"):
        assert re.search(rf"^\| {what} \| met \| .+ \| .+ \|", text, re.MULTILINE), text
    assert "| latency_p50 | no limit | Latency was not measured" in text
    found = suites(tmp_path / "gate.xml")["server-cpu"]
    met = dict.fromkeys(("correctness", "accuracy_drop", "size", "coverage"), "system-out")
    assert found == {**met, "latency_p50": "skipped"}
    again = read(tmp_path / "dist/judged-server-cpu")["budget"]
    assert [(one["what"], one["status"]) for one in again] == [
        (name, "met") for name in ("size", "accuracy_drop", "coverage")
    ]


def test_a_budget_that_is_missed_is_code_3_with_the_reason_everywhere(cli: Cli, judged: Path, tmp_path: Path) -> None:
    budget = ("--budget", "size=2kB", "--budget", "accuracy=0.5")
    ran = cli("export", judged, *QUICK, *budget, "--junit", "gate.xml", "--summary-file", "gate.md")
    ran.failed(3, "The budget was missed", "dist/judged-server-cpu: size: ", "2kB asked: missed")
    assert "accuracy" not in ran.err
    assert (tmp_path / "dist/judged-server-cpu/manifest.json").is_file()
    text = (tmp_path / "gate.md").read_text()
    assert "**failed: size of server-cpu missed**" in text
    assert "| size | **missed** |" in text
    assert "| accuracy | met |" in text
    assert suites(tmp_path / "gate.xml")["server-cpu"]["size"] == "failure"
    failure = ElementTree.parse(tmp_path / "gate.xml").find(".//failure")
    assert failure is not None
    assert failure.attrib["message"].endswith("2kB asked: missed")


def test_a_failed_verification_is_written_down_too(cli: Cli, judged: Path, tmp_path: Path) -> None:
    words = ("-t", "server-cpu,mobile", "--precision", "int8", "--no-measure", "-q", "--min-sqnr", "150")
    ran = cli("export", judged, *words, "--budget", "size=1MB", "--junit", "gate.xml", "--summary-file", "gate.md")
    ran.failed(4, "150")
    assert suites(tmp_path / "gate.xml") == {
        "server-cpu": {"correctness": "failure"},
        "android-arm64": {"correctness": "failure"},
    }
    text = (tmp_path / "gate.md").read_text()
    assert "**failed: " in text
    assert text.count("VerificationError: int8 collapses") == 2


def test_a_target_that_cannot_be_served_is_written_down_too(cli: Cli, judged: Path, tmp_path: Path) -> None:
    """A runtime that is installed and broken: it is found when the second target compiles."""
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino/__init__.py").write_text("raise ImportError('libtbb.so.12 is missing')\n")
    words = ("-t", "server-cpu,cpu", "--precision", "int8", "--no-measure", "-q")
    ran = cli("export", judged, *words, "--junit", "gate.xml", "--summary-file", "gate.md", "--budget", "size=1MB")
    ran.failed(5, "libtbb.so.12 is missing")
    found = suites(tmp_path / "gate.xml")
    assert found["cpu"] == {"export": "error"}
    assert found["server-cpu"]["size"] == "system-out"
    assert "UnservedError: openvino is installed but does not import" in (tmp_path / "gate.md").read_text()


def test_what_cannot_be_written_is_said_before_anything_runs(cli: Cli, judged: Path) -> None:
    cli("export", judged, *QUICK, "--junit", "no/such/gate.xml").failed(1, "cannot be written", "no/such")
    cli("export", judged, *QUICK, "--budget", "latency_p9O=5ms").failed(1, "Did you mean latency_p90?")
    cli("export", judged, *QUICK, "--budget", "size=4mb").failed(1, "'mb' is unknown", "Did you mean MB?")
    cli("export", judged, *QUICK, "--budget", "size=4MB", "--max-size", "5MB").failed(1, "bound the same figure")
    cli("export", judged, *QUICK, "--budget", "size_regression=1%").failed(1, "against a baseline", "--baseline")
    cli("export", judged, *QUICK, "--budget", "latency_p99=5ms").failed(1, "latency_p99", "measuring is switched off")
    cli("tune", judged, "-t", "cpu", "--budget", "size_regression=1%").failed(1, "against a baseline")
    assert cli("export", judged, *QUICK, "--summary", "--json").code == 2


def test_a_latency_is_judged_by_its_interval(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    calm = copied(bundle, tmp_path / "calm", steady(5.0))
    for limit, code, word in (("6ms", 0, "met"), ("4.9ms", 3, "missed")):
        ran = cli("check", calm, "--budget", f"latency_p50={limit}", "--summary-file", "s.md")
        assert ran.code == code, ran.err
        row = next(line for line in (tmp_path / "s.md").read_text().splitlines() if line.startswith("| latency_p50"))
        assert word in row
        assert re.search(r"\| (4\.99|5\.00)\d \[4\.99\d, 5\.00\d\] ms \|", row), row
    wide = copied(bundle, tmp_path / "wide", steady(5.0, spread=0.6, count=120, rounds=6))
    ran = cli("check", wide, "--budget", "latency_p50=4.9ms")
    assert ran.code == 0
    assert "the interval does not exclude it" in ran.err
    few = cli("check", wide, "--budget", "latency_p99=1ms")
    assert (few.code, "120 samples do not carry p99, which takes 1000" in few.out) == (0, True)


def test_a_profile_is_judged_by_what_it_measured(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    words = ("--scenario", "cold-start", "-q", "-o", "cold.json", "--history", "h.jsonl")
    assert cli("profile", bundle, *words).code == 0
    ran = cli("check", "cold.json", "--budget", "size=1B", "--budget", "memory=1B", "--junit", "c.xml")
    ran.failed(3, "size", "1B asked: missed")
    assert suites(tmp_path / "c.xml")["cold.json"] == {
        "size": "failure",
        "accuracy": "skipped",
        "latency_p50": "skipped",
        "memory": "skipped",
    }
    assert '"kind": "profile"' in (tmp_path / "h.jsonl").read_text()


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """A machine on which others want every core."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_machine_under_load_is_unstable_and_not_a_false_failure(
    judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real measurement with two busy processes a core, under a limit that it cannot keep."""

    def loaded(*words: Any) -> Iterator[TurnsOfSet]:
        with busy(2 * len(os.sched_getaffinity(0))):
            yield from take_turns(*words)

    monkeypatch.setattr(timing, "take_turns", loaded)
    monkeypatch.setattr(timing, "SECONDS", 1.0)
    limits = {"latency_p50": "0.001ms"}
    made = edgepress.export(
        str(judged), target="server-cpu", precision="int8", budget=limits, threads=1, output=tmp_path / "loaded"
    )
    warned: list[str] = []
    gate = Gate(
        targets={"server-cpu": "server-cpu"},
        limits=dict([parse_limit("latency_p50=0.001ms")]),
        outlets=Outlets(summary_file=tmp_path / "s.md"),
        warn=warned.append,
        made={"server-cpu": made},
    )
    with gate.watched():
        pass
    assert any("latency_p50" in text and "waited" in text for text in warned), warned
    assert "| latency_p50 | **unstable** |" in (tmp_path / "s.md").read_text()
    strict = Gate(
        targets=gate.targets, limits=gate.limits, on_unstable="fail", outlets=gate.outlets, made=dict(gate.made)
    )
    with pytest.raises(BudgetError, match="unstable"), strict.watched():
        pass


def test_a_baseline_is_compared_kind_by_kind(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    old = copied(bundle, tmp_path / "old", task=TaskMetric(before=0.9, after=0.9, how="the engine"))
    new = copied(bundle, tmp_path / "new", task=TaskMetric(before=0.9, after=0.8, how="the engine"))
    ran = cli("check", new, "--baseline", old, "--junit", "b.xml", "--summary-file", "b.md")
    ran.failed(3, "accuracy_regression", "0.9000 to 0.8000", "1% asked: missed")
    found = suites(tmp_path / "b.xml")["new"]
    assert (found["accuracy_regression"], found["size_regression"]) == ("failure", "system-out")
    # The same engine, byte for byte, is as fast as it is.
    assert found["latency_regression"] == "system-out"
    assert "byte for byte" in (tmp_path / "b.md").read_text()
    allowed = ("--budget", "accuracy_regression=15%", "-q")
    assert cli("check", new, "--baseline", old, *allowed).code == 0


def test_a_baseline_that_is_missing_or_broken_is_one_message(
    cli: Cli, bundle: Path, judged: Path, tmp_path: Path
) -> None:
    cli("export", judged, *QUICK, "--baseline", "none").failed(1, "Baseline none does not exist", "--baseline-optional")
    first = cli("export", judged, *QUICK, "--baseline", "none", "--baseline-optional", "--summary-file", "s.md")
    assert first.code == 0, first.err
    assert "there is no baseline in none yet" in (tmp_path / "s.md").read_text()
    cli("export", judged, "-t", "mobile", "--baseline", bundle.parent).failed(
        1, "no bundle for android-arm64, only for server-cpu"
    )
    cli("export", judged, *QUICK, "--baseline", "dist", "--force").failed(1, "is the baseline and would be replaced")
    (bundle / "model.onnx").write_bytes(b"cut")
    broken = ("--baseline", bundle, "--baseline-optional", "--force")
    cli("export", judged, *QUICK, *broken).failed(1, "The baseline is broken", "model.onnx was changed")


def test_nothing_that_is_unchanged_is_built_again(cli: Cli, judged: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, a=np.zeros(3))
    words = (
        "export",
        judged,
        *QUICK,
        "--if-changed",
        "--depends",
        "data.npz",
        "--budget",
        "size=1MB",
        "--junit",
        "j.xml",
    )
    bundle = tmp_path / "dist/judged-server-cpu"
    built: list[int] = []
    for change in ("nothing is there", "", "data"):
        if change == "data":
            np.savez(data, a=np.ones(3))
        ran = cli(*words)
        assert ran.code == 0, ran.err
        assert ("is unchanged" in ran.err) == (change == ""), change
        built.append((bundle / "manifest.json").stat().st_ino)
        assert suites(tmp_path / "j.xml")["server-cpu"]["size"] == "system-out"
    assert built[0] == built[1]


@pytest.mark.slow
def test_the_command_says_unstable_where_others_want_the_cores(cli: Cli, judged: Path, tmp_path: Path) -> None:
    words = ("-t", "server-cpu", "--precision", "int8", "-q", "--budget", "latency_p50=1us")
    with busy(len(os.sched_getaffinity(0))):
        ran = cli("export", judged, *words, "--junit", "gate.xml", "--summary-file", "gate.md")
    assert ran.code == 0, ran.err
    assert "warning: server-cpu: latency_p50: " in ran.err
    assert "unstable, no steady state was reached; the threads waited" in ran.err
    assert suites(tmp_path / "gate.xml")["server-cpu"]["latency_p50"] == "system-out"
    assert "| latency_p50 | **unstable** |" in (tmp_path / "gate.md").read_text()
    strict = ("--on-unstable", "fail", "--junit", "gate.xml")
    cli("check", "dist/judged-server-cpu", *strict).failed(3, "latency_p50", "unstable")
    assert suites(tmp_path / "gate.xml")["judged-server-cpu"]["latency_p50"] == "failure"
