"""A short part of `scripts/attack`, seeded; docs/reliability.md has the long runs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def attack(directory: Path, *parts: str) -> Path:
    """What a few seeds of these parts gave, each in a file of the directory."""
    environment = {**os.environ, "TMPDIR": str(directory), "OMP_NUM_THREADS": "1"}
    subprocess.run([ROOT / "scripts/attack", "sample", directory, *parts], env=environment, check=True, timeout=300)
    return directory


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attack(tmp_path_factory.mktemp("attack"), "inputs", "kills")


def found(directory: Path, what: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / f"{what}.jsonl").read_text().splitlines()]


def left_whole(bouts: list[dict[str, Any]]) -> None:
    """Each run that was struck left the old result or the new one."""
    assert [one["fault"] for one in bouts] == [""] * 3
    codes = [strike["code"] for one in bouts for strike in one["strikes"]]
    assert len([code for code in codes if code]) >= 2, "the strikes came too late"


def test_files_with_code_in_them_and_forged_ones_are_refused(attacked: Path) -> None:
    inputs = found(attacked, "inputs")
    assert [one for one in inputs if one["ended"] not in ("made", "refused")] == []
    assert sum(one["ended"] == "refused" for one in inputs) > 3
    assert len({one["subject"] for one in inputs}) > 3


def test_a_run_that_is_killed_leaves_the_old_or_the_new_one(attacked: Path) -> None:
    left_whole(found(attacked, "kills"))


@pytest.mark.slow
def test_a_run_that_is_interrupted_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    left_whole(found(attack(tmp_path, "interrupts"), "interrupts"))


@pytest.mark.slow
def test_an_installation_that_is_killed_at_200_moments_always_leaves_a_whole_version(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    words = [ROOT / "scripts/attack", "kills", "0:100", tmp_path / "kills.jsonl", "install"]
    subprocess.run(words, env=environment, check=True, timeout=3600)
    bouts = found(tmp_path, "kills")
    assert [one["fault"] for one in bouts] == [""] * 100
    assert sum(strike["code"] == -9 for one in bouts for strike in one["strikes"]) >= 200
