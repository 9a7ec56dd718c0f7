"""`edgepress profile` and `edgepress compare` as a shell starts them, on small graphs and on a bundle."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepress.exporter.measuring.subject import open_subject, this_setup
from edgepress.profiles.findings.profile import Profile, load_profile, save_profile
from edgepress.profiles.timing.measure import QUICK
from edgepress.profiles.timing.measurement import Measurement

from ._engines import chain, failing_target, install_failing

EDGEPRESS = Path(sys.executable).with_name("edgepress")
Run = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files that do the same, one that does three times as much, and a failing backend."""
    path = tmp_path_factory.mktemp("work")
    chain(path / "a.onnx", 4, batch="batch")
    chain(path / "same.onnx", 4, batch="batch")
    chain(path / "more.onnx", 12, batch="batch")
    chain(path / "wide.onnx", 4, size=20)
    install_failing(path)
    return path


@pytest.fixture
def run(work: Path) -> Run:
    """Run a command line in that folder; the failing backend is installed."""

    def command(*words: object, timeout: float = 120) -> SimpleNamespace:
        path = os.pathsep.join([str(work / "site"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [str(EDGEPRESS), *map(str, words)],
            cwd=work,
            env={**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    return command


@pytest.fixture(scope="module")
def measured(work: Path) -> Iterator[dict[str, Any]]:
    """The quick profile of a.onnx, made once: its JSON, its file."""
    words = [EDGEPRESS, "profile", "a.onnx", "--threads", "1", "--scenario", "single-stream", "-o", "a.json", "--json"]
    done = subprocess.run(words, cwd=work, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    yield {"data": json.loads(done.stdout), "file": work / "a.json"}


@pytest.mark.slow
def test_a_quick_profile_keeps_its_rules(measured: dict[str, Any]) -> None:
    data, stored = measured["data"], load_profile(measured["file"])
    (run,) = stored.single_stream
    assert sum(run.samples) >= 10e9
    assert len(run.samples) >= 200
    (latency,) = data["single_stream"]
    assert latency["samples"] == len(run.samples)
    assert latency["least"] <= latency["p50"] <= latency["p90"] <= latency["p95"]
    assert latency["intervals"]["50"]["low"] <= latency["p50"] <= latency["intervals"]["50"]["high"]
    assert (latency["p99_9"] is None) == (len(run.samples) < 10_000)
    assert data["setup"]["threads"] == 1
    assert data["setup"]["affinity"] == [max(os.sched_getaffinity(0))]
    assert stored.memory is not None
    assert stored.memory.peak >= stored.memory.steady > stored.memory.before
    assert data["size"]["weights"] == 4 * 8 * 8 * 9 * 4
    assert list(data["size"]["layers"]) == [f"conv{index}" for index in range(4)]
    assert any(layer["microseconds"] for layer in data["layers"])
    assert data["missing"]["offline"] == "it was not asked for"
    assert ("energy" in data["missing"]) == (data["energy"] is None)
    assert stored.before is not None
    for what in stored.before.absent:
        assert data["missing"][what]


def test_cold_start_and_offline_in_text(run: Run) -> None:
    ran = run(
        "profile", "a.onnx", "--threads", 1, "--scenario", "cold-start", "--scenario", "offline", "--batches", "1,4"
    )
    assert ran.code == 0, ran.err
    assert "cold start, median of 5 processes" in ran.out
    assert "offline, batch 4, 1 streams of 1 threads" in ran.out
    assert "not measured: single-stream: it was not asked for" in ran.out
    assert "wait for each other" not in ran.out


def test_more_streams_than_threads_are_said_to_wait(run: Run) -> None:
    words = ("--threads", 1, "--scenario", "offline", "--batches", "1", "--streams", "1,3")
    ran = run("profile", "a.onnx", *words)
    assert ran.code == 0, ran.err
    crowded, *more = [line for line in ran.out.splitlines() if "on 1 threads in all they wait for each other" in line]
    assert "batch 1, 3 streams of 1 threads" in crowded and not more


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing-there",), "is not a bundle"),
        (("no.onnx",), "no.onnx does not exist"),
        (("a.onnx", "--scenario", "ofline"), "Did you mean offline?"),
        (("a.onnx", "--threads", "1000"), "usable cores"),
        (("wide.onnx", "--batches", "4"), "takes a batch of 1, not of 4"),
        (("a.onnx", "-o", "no/such/p.json"), "not a writable directory"),
        (("a.onnx", "-t", "rpi5"), "says nothing"),
    ],
)
def test_bad_input_is_refused_before_anything_is_measured(run: Run, words: tuple[str, ...], said: str) -> None:
    ran = run("profile", *words)
    assert ran.code in (1, 5), ran.err
    assert ran.err.startswith("error: ")
    assert said in ran.err


def test_misuse_is_code_2(run: Run) -> None:
    assert run("profile", "a.onnx", "--batches", "1,x").code == 2
    assert run("profile", "a.onnx", "--timeout", "5").code == 2
    assert run("compare", "a.onnx").code == 2


def test_an_engine_that_crashes_leaves_a_marked_partial_result(run: Run, work: Path) -> None:
    target = failing_target(work, "crash", 4000)
    ran = run("profile", "a.onnx", "-t", target, "--scenario", "single-stream", "-o", "crash.json", "--threads", 1)
    assert ran.code == 4
    assert "SIGABRT" in ran.err
    assert "UNFINISHED" in ran.out
    partial = load_profile(work / "crash.json")
    assert "SIGABRT" in partial.unfinished
    assert not partial.stable
    if partial.single_stream:
        assert 0 < len(partial.single_stream[0].samples) < 4000


@pytest.mark.slow
def test_an_engine_that_hangs_is_stopped(run: Run, work: Path) -> None:
    target = failing_target(work, "hang", 50)
    ran = run("profile", "a.onnx", "-t", target, "--scenario", "single-stream", "--timeout", "2s", "--threads", 1)
    assert ran.code == 4
    assert "gave no answer" in ran.err
    assert "--timeout" in ran.err


def test_three_times_the_work_is_slower_and_one_that_fails_claims_nothing(run: Run, work: Path) -> None:
    ran = run("compare", "a.onnx", "more.onnx", "--threads", 1, "--seconds", 5, "--json", "-o", "c.json")
    assert ran.code == 0, ran.err
    data = json.loads(ran.out)
    assert data["verdict"] == "slower"
    assert data["outcome"]["processes"] >= 5
    assert data["outcome"]["ratio"]["high"] < 1 / 1.5
    assert data["a"]["size"] < data["b"]["size"]
    stored = json.loads((work / "c.json").read_text())
    assert len(stored["pairs"]) == data["outcome"]["processes"]
    assert sum(len(pair["a"]) for pair in stored["pairs"]) == data["outcome"]["turns"]

    target = failing_target(work, "crash", 4000)
    ran = run("compare", "a.onnx", "more.onnx", "-t", target, "--threads", 1, "--seconds", 5)
    assert ran.code == 4
    assert "SIGABRT" in ran.err


@pytest.mark.slow
def test_the_same_work_is_as_fast(run: Run) -> None:
    """How seldom a difference is claimed is shown by scripts/bench/comparison.py."""
    ran = run("compare", "a.onnx", "same.onnx", "--threads", 1, "--seconds", 5)
    assert ran.code == 0, ran.err
    assert "fresh processes an arm" in ran.out
    low, high = map(float, re.findall(r"\[([\d.]+), ([\d.]+)\]", ran.out)[0])
    assert low <= 1.05
    assert high >= 0.95


def test_other_shapes_do_not_compare_unless_forced(run: Run) -> None:
    ran = run("compare", "a.onnx", "wide.onnx", "--threads", 1, "--seconds", 5)
    assert ran.code == 1
    assert "These do not compare: A was fed input 1x8x12x12 float32, B input 1x8x20x20 float32." in ran.err
    assert "--force" in ran.err


def stored(path: Path, processor: str = "", **change: object) -> Path:
    """A measurement file as `edgepress profile` writes it, of this machine or of another one."""
    setup = this_setup(1)
    if processor:
        setup = replace(setup, machine=replace(setup.machine, processor=processor))
    with open_subject(path.parent / "a.onnx") as subject:
        measured = subject.measured
    samples = tuple(int(x) for x in np.random.default_rng(0).normal(1e6, 1e4, 2000))
    run = Measurement(samples=samples, rounds=tuple(i // 50 for i in range(2000)), stable=True)
    fields = {"mode": "quick", "settings": QUICK, "date": "2026-01-01T00:00:00+00:00", "command": "edgepress profile"}
    save_profile(Profile(measured=measured, setup=setup, single_stream=(run,), **fields), path)  # type: ignore[arg-type]
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    return path


def test_stored_measurements_are_weaker_evidence(run: Run, work: Path) -> None:
    stored(work / "here.json")
    ran = run("compare", "here.json", "here.json", "--threads", 1)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("no difference shown: B is 1.00x")
    assert "weaker evidence than an interleaved comparison: both were measured before" in ran.out
    stored(work / "unsteady.json", disturbed=["throttled when it ended"])
    ran = run("compare", "here.json", "unsteady.json", "--threads", 1)
    assert "reached no steady state" in ran.out
    assert "disturbed: throttled when it ended" in ran.out


def test_stored_measurements_of_another_machine_or_schema_are_refused(run: Run, work: Path) -> None:
    stored(work / "here.json")
    stored(work / "other.json", processor="Another Processor")
    ran = run("compare", "other.json", "a.onnx", "--threads", 1)
    assert ran.code == 1
    assert "Another Processor" in ran.err
    assert "--force" in ran.err
    ran = run("compare", "other.json", "here.json", "--threads", 1, "--force")
    assert ran.code == 0
    assert "these do not compare, and were compared with --force" in ran.out
    stored(work / "old.json", schema=7)
    ran = run("compare", "old.json", "a.onnx")
    assert ran.code == 1
    assert "old.json has schema 7; this edgepress reads 1." in ran.err


@pytest.mark.slow
def test_an_engine_against_what_was_measured_before(run: Run, measured: dict[str, Any]) -> None:
    ran = run("compare", "a.json", "more.onnx", "--threads", 1)
    assert ran.code == 0, ran.err
    assert "one side was measured before" in ran.out
    assert ran.out.startswith(("B is slower", "no difference shown"))  # the latter where the machine is not steady


def test_a_device_needs_no_host_tools_to_measure() -> None:
    """Neither torch nor onnx, to the last module; and no runtime before an engine is opened."""
    code = (
        "import sys, edgepress.exporter.cli.profile, edgepress.exporter.cli.compare\n"
        "import edgepress.exporter.measuring.compare, edgepress.backends.places.serve\n"
        "import edgepress.exporter.measuring.show, edgepress.backends.places.worker\n"
        "print({name.partition('.')[0] for name in sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = ("torch", "onnx", "onnx_ir", "onnxscript", "transformers", "onnxruntime", "openvino", "tensorrt")
    assert not [name for name in heavy if f"'{name}'" in out]
