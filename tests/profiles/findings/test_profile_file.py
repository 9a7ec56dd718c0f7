"""The file of a measurement: what it keeps, what it refuses, and what does not compare."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.profiles.findings.comparison import incomparable
from edgepress.profiles.findings.profile import (
    ColdStart,
    Measured,
    Profile,
    Setup,
    Throughput,
    json_schema,
    load_profile,
    save_profile,
)
from edgepress.profiles.machine.environment import Machine
from edgepress.profiles.timing.measure import QUICK
from edgepress.profiles.timing.measurement import Measurement

SCHEMA = Path(__file__).parents[3] / "docs" / "profile.schema.json"
MEASURED = Measured(
    name="net-cpu",
    kind="bundle",
    digest="ab" * 32,
    target="cpu",
    precision="int8",
    runtime="openvino 2026.4.1",
    shapes={"image": "1x3x32x32 float32"},
)
SETUP = Setup(
    machine=Machine(processor="A Processor", arch="x86_64", cores=4, isa=("avx2",), system="Linux 6.1, Python 3.11.7"),
    threads=4,
    affinity=(0, 1, 2, 3),
    tools={"openvino": "2026.4.1"},
)


@pytest.fixture
def profile() -> Profile:
    run = Measurement(
        samples=tuple(range(1_000_000, 1_001_200)), rounds=tuple(i // 100 for i in range(1200)), stable=True
    )
    return Profile(
        measured=MEASURED,
        setup=SETUP,
        mode="quick",
        settings=QUICK,
        date="2026-01-01T00:00:00+00:00",
        command="edgepress profile net-cpu",
        single_stream=(run,),
        offline=(Throughput(batch=4, streams=2, threads=2, windows=(100.0, 110.0, 90.0)),),
        cold_start=ColdStart(started=(1, 2), imported=(10, 20), opened=(100, 200), first=(1000, 2000)),
        missing={"energy": "no counter"},
    )


def test_a_file_gives_back_every_sample(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    save_profile(profile, path)
    assert load_profile(path) == profile
    assert [p.name for p in tmp_path.iterdir()] == ["p.json"]
    found = load_profile(path)
    assert found.single_stream[0].latency().p99 is not None
    assert found.cold_start is not None
    assert found.cold_start.total == (1111, 2222)
    assert found.offline[0].rate == 100.0
    low, high = found.offline[0].interval()
    assert (low, high) == (90.0, 110.0)


def test_no_percentile_is_stored(profile: Profile, tmp_path: Path) -> None:
    save_profile(profile, tmp_path / "p.json")
    data = json.loads((tmp_path / "p.json").read_text())
    assert set(data["single_stream"][0]) == {"samples", "rounds", "processes", "stable", "clock_faults", "waited"}


def test_the_published_schema_is_that_of_the_code() -> None:
    """Write it anew with: python -m edgepress.profiles.findings.profile > docs/profile.schema.json."""
    assert SCHEMA.read_text() == json_schema()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, ("schema 2", "reads 1")),
        ({"schema": None}, ("schema None", "reads 1")),
        ({"kind": "something else"}, ("not a measurement",)),
        ({"setup": None}, ("`setup`",)),
        ({"single_stream": [{"samples": ["x"], "rounds": [0], "stable": True}]}, ("`single_stream.0.samples.0`",)),
        ({"single_stream": [{"samples": [1, 2], "rounds": [0], "stable": True}]}, ("2 samples have 1 rounds",)),
        ({"single_stream": [{"samples": [], "rounds": [], "stable": True}]}, ("`single_stream.0`", "no samples")),
        ({"single_stream": [{"samples": [0, 0], "rounds": [], "stable": True}]}, ("`single_stream.0`", "0 ns")),
        ({"single_stream": [{"samples": [5, -3], "rounds": [], "stable": True}]}, ("`single_stream.0`", "-3 ns")),
    ],
)
def test_a_file_of_another_schema_is_refused(
    profile: Profile, tmp_path: Path, change: dict[str, object], words: tuple[str, ...]
) -> None:
    path = tmp_path / "p.json"
    save_profile(profile, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError) as error:
        load_profile(path)
    assert all(word in str(error.value) for word in words)
    assert "p.json" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"kind": "edgepress profile", "schema": 1}', "\x00\xff"])
def test_damaged_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"p\.json"):
        load_profile(path)
    with pytest.raises(InputError, match="does not exist"):
        load_profile(tmp_path / "no.json")


def test_a_file_that_cannot_be_written_leaves_nothing(profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "p.json").mkdir()
    with pytest.raises(OSError):
        save_profile(profile, tmp_path / "p.json")
    assert [p.name for p in tmp_path.iterdir()] == ["p.json"]


def test_what_differs_in_more_than_the_engine_does_not_compare() -> None:
    other = replace(SETUP.machine, processor="Another Processor")
    system = replace(SETUP.machine, system="Linux 6.6, Python 3.12.1")
    assert incomparable(MEASURED, replace(MEASURED, name="b", digest="cd", precision="fp32"), SETUP, SETUP) == ()
    for measured, setup, words in (
        (MEASURED, replace(SETUP, machine=other), "A Processor"),
        (MEASURED, replace(SETUP, machine=system), "Python 3.12.1"),
        (MEASURED, replace(SETUP, threads=2), "4 threads, B with 2"),
        (MEASURED, replace(SETUP, affinity=(0,)), "4 cores, B to 1"),
        (replace(MEASURED, runtime="openvino 2025.1.0"), SETUP, "openvino 2025.1.0"),
        (replace(MEASURED, shapes={"image": "8x3x32x32 float32"}), SETUP, "8x3x32x32"),
    ):
        found = incomparable(MEASURED, measured, SETUP, setup)
        assert len(found) == 1
        assert words in found[0]
    # Another runtime is what one may want to compare.
    assert incomparable(MEASURED, replace(MEASURED, runtime="onnxruntime 1.31.0"), SETUP, SETUP) == ()


def test_a_profile_is_steady_only_where_nothing_disturbed_it(profile: Profile) -> None:
    assert profile.stable
    assert not replace(profile, unfinished="it crashed").stable
    assert not replace(profile, disturbed=("throttled",)).stable
    assert not replace(profile, single_stream=(replace(profile.single_stream[0], stable=False),)).stable
