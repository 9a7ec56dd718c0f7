"""The program as a child process of edgepress: it runs an engine, times it and tells of the machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from edgepress.backends.places.job import load_arrays, save_arrays
from edgepress.exporter.capture.golden import Golden
from edgepress.profiles.findings.layers import Layer
from edgepress.profiles.machine.conditions import Conditions
from edgepress.profiles.machine.memory import Memory
from edgepress.profiles.timing.measure import Settings


@pytest.mark.parametrize("release", ["8.0", "8.5"])
def test_it_runs_and_times_an_engine_as_a_child(
    release: str, bundle: Path, device: Callable[..., Any], tmp_path: Path
) -> None:
    assert device(release).returncode == 0
    golden = Golden.load(bundle / "golden")
    target = {"options": {}}
    engine = {
        "path": str(bundle / "engine" / "model.plan"),
        "target": target,
        "outputs": [{"name": "y", "dtype": "float32"}],
    }
    job = {"engine": engine, "decoder": False, "logits": False, "affinity": []}
    (tmp_path / "job.json").write_text(json.dumps(job))
    save_arrays(tmp_path / "feed.npz", golden.feeds[0])
    save_arrays(tmp_path / "inputs.npz", golden.feeds[1])
    asked = [
        {"do": "run", "inputs": str(tmp_path / "inputs.npz"), "outputs": str(tmp_path / "outputs.npz")},
        {"do": "turn", "settle": 1, "count": 4},
        {"do": "slice", **asdict(Settings(slice_seconds=0.05))},
        {"do": "calls"},
        {"do": "memory"},
        {"do": "layers"},
        {"do": "conditions"},
        {"do": "waits", "tasks": "/proc/self/task"},
        {"do": "run", "inputs": "absent.npz", "outputs": "x"},
        {"do": "offline", "batch": 4, "streams": 2, "seconds": 0.2, "windows": 2},
        {"do": "write"},
    ]
    given = "".join(json.dumps(one) + "\n" for one in asked)
    done = device(release, "--serve", str(tmp_path / "job.json"), given=given)
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events[:5]] == ["started", "imported", "opened", "first", "ready"]
    answers = [event.get("answer") for event in events[5:]]
    assert np.array_equal(load_arrays(tmp_path / "outputs.npz")["y"], golden.outputs[1]["y"])
    turn, taken, calls, memory, layers, conditions, waits = answers[1:8]
    assert len(turn) == 4
    assert min(turn) > 0
    assert 0.02e9 < sum(taken) < 5e9  # the loop itself takes a part of the slice
    assert calls == len(taken) + Settings().settle_count
    assert 0 < memory["before"] < memory["opened"] <= memory["peak"]
    assert Memory(**memory).steady > 0
    assert [Layer(**layer).integer for layer in layers if layer["compute"]] == (
        [] if release == "8.0" else [True, True]
    )
    assert TypeAdapter(Conditions).validate_python(conditions).absent.keys() == {"throttling"}
    assert all(len(pair) == 2 for pair in waits.values())
    assert "absent.npz cannot be read" in events[13]["error"]
    assert len(answers[9]) == 2
    assert all(rate > 0 for rate in answers[9])
    assert (events[15]["kind"], events[15]["hint"]) == (
        "UnservedError",
        "A program of the bundle's own runs there, since edgepress itself needs Python 3.10.",
    )
