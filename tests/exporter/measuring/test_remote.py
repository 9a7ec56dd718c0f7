"""The measuring process: what it is told and tells, and what becomes of one that refuses, crashes or hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.backends.base import AxisRange
from edgepress.backends.places.remote import EngineFailedError, Remote
from edgepress.errors import InputError
from edgepress.exporter.measuring.scenarios import cold_start, offline, single_stream, usual_batches, usual_streams
from edgepress.exporter.measuring.subject import open_subject, this_setup
from edgepress.profiles.device.target import load_target
from edgepress.profiles.machine.energy import PowerMeter
from edgepress.profiles.timing.measure import Settings

from ._engines import chain, failing_target, install_failing

BRIEF = Settings(warmup_seconds=0.05, warmup_count=3, seconds=0.2, samples=20, slice_seconds=0.05, cap=1.5)
Start = Callable[..., Remote]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a process for a small graph; `then` and `after` say how its engine fails."""

    def run(then: str = "", after: int = 1 << 40, timeout: float = 60.0) -> Remote:
        target = "server-cpu"
        if then:
            if not (tmp_path / "site").exists():
                site = install_failing(tmp_path)
                monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
            target = str(failing_target(tmp_path, then, after))
        path = tmp_path / "chain.onnx"
        if not path.exists():
            chain(path, 3, batch="batch")
        with open_subject(path) as subject:
            backend = "failing" if then else "onnxruntime"
            engine = replace(subject.engine, path=path, backend=backend, target=load_target(target))
            subject = replace(subject, engine=engine)
            return Remote(subject.job(this_setup(1)).save(tmp_path, subject.feed), "chain.onnx", timeout)

    return run


def test_a_process_tells_when_it_got_where_and_is_bound_to_its_core(start: Start) -> None:
    with start() as engine:
        engine.ready()
        times = [engine.events[name] for name in ("spawned", "started", "imported", "opened", "first")]
        assert times == sorted(times)
        assert times[-1] <= time.monotonic_ns()
        assert os.sched_getaffinity(engine.pid) == {max(os.sched_getaffinity(0))}
        taken = engine.turn(2, 5)
        assert len(taken) == 5
        assert all(0 < sample < 1e9 for sample in taken)
        memory = engine.ask("memory")
        assert 0 < memory["before"] < memory["opened"] <= memory["peak"]
        assert [layer["operator"] for layer in engine.ask("layers") if layer["compute"]]
    with pytest.raises(ProcessLookupError):
        os.kill(engine.pid, 0)


def test_what_the_process_finds_wrong_is_the_same_error_here(start: Start) -> None:
    with start("refuse") as engine, pytest.raises(InputError, match="wrong colour") as error:
        engine.ready()
    assert error.value.hint == "Paint it."


def test_a_crash_is_named_by_its_signal_and_what_was_measured_is_kept(start: Start) -> None:
    found = single_stream(lambda: start("crash", 60), BRIEF, None, lambda share: None)
    assert "SIGABRT" in found.failure
    assert found.measurement is None or len(found.measurement.samples) < 60
    # Warmed up by count and in slices of a millisecond, so that neither a fast nor a busy processor gets through its
    # 2000 inferences before the first slice is over.
    slices = replace(BRIEF, warmup_seconds=0.0, seconds=60.0, slice_seconds=0.001)
    slow = single_stream(lambda: start("crash", 2000), slices, None, lambda share: None)
    assert "SIGABRT" in slow.failure
    assert slow.measurement is not None
    assert 100 < len(slow.measurement.samples) < 2000
    assert slow.before is not None
    assert slow.after is None


def test_a_hang_ends_after_the_timeout(start: Start) -> None:
    begun = time.monotonic()
    with start("hang", 3, timeout=1.5) as engine:
        with pytest.raises(EngineFailedError, match="no answer for") as error:
            engine.ready().warm(BRIEF)
        assert "--timeout" in str(error.value.hint)
    assert time.monotonic() - begun < 30


def test_an_engine_that_never_gets_steady_is_unstable_after_the_cap(start: Start) -> None:
    begun = time.monotonic()
    found = single_stream(lambda: start("never-steady"), BRIEF, None, lambda share: None)
    assert found.measurement is not None
    assert not found.measurement.stable
    assert found.failure == ""
    assert time.monotonic() - begun < 40


def test_a_single_stream_brings_memory_layers_conditions_and_energy(start: Start) -> None:
    meter = PowerMeter("a bench, all of it", lambda: 5.0)
    found = single_stream(start, BRIEF, meter, lambda share: None)
    assert found.measurement is not None
    assert len(found.measurement.samples) >= BRIEF.samples
    assert found.energy is not None
    assert found.energy.inferences >= len(found.measurement.samples)
    assert found.energy.joules >= 5.0 * found.energy.seconds  # taking turns with nobody, it ran at least that long
    assert found.memory is not None
    assert found.layers
    assert found.before is not None
    assert found.after is not None


def test_cold_starts_are_fresh_processes(start: Start) -> None:
    shares: list[float] = []
    found = cold_start(start, "quick", shares.append)
    assert len(found.total) == 5
    assert shares == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert all(min(part) > 0 for part in (found.started, found.imported, found.opened, found.first))


def test_offline_measures_every_batch_and_number_of_streams(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgepress.exporter.measuring.scenarios._OFFLINE_SECONDS", {"quick": 0.2})
    found = offline(start, "quick", 1, (1, 8), (1, 2), lambda share: None)
    assert [(point.batch, point.streams) for point in found] == [(1, 1), (1, 2), (8, 1), (8, 2)]
    assert all(len(point.windows) == 8 and min(point.windows) > 0 for point in found)


def test_usual_batches_and_streams() -> None:
    assert usual_batches(None, 3) == (3,)
    assert usual_batches(AxisRange(smallest=1, usual=2, largest=8), 1) == (1, 4)
    assert usual_batches(AxisRange(smallest=5, usual=6, largest=8), 5) == (6,)
    assert [usual_streams(threads) for threads in (1, 2, 3, 4, 6)] == [(1,), (1, 2), (1, 2), (1, 2, 4), (1, 2, 4)]
