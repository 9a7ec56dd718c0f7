"""A short part of `scripts/attack`, seeded; docs/reliability.md has the long runs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of what a few seeds of each kind gave."""
    directory = tmp_path_factory.mktemp("attack")
    environment = {**os.environ, "TMPDIR": str(directory), "OMP_NUM_THREADS": "1"}
    subprocess.run([ROOT / "scripts/attack", "sample", directory], env=environment, check=True, timeout=300)
    return directory


def found(attacked: Path, what: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (attacked / f"{what}.jsonl").read_text().splitlines()]


def test_files_with_code_in_them_and_forged_ones_are_refused(attacked: Path) -> None:
    inputs = found(attacked, "inputs")
    assert [one for one in inputs if one["ended"] not in ("made", "refused")] == []
    assert sum(one["ended"] == "refused" for one in inputs) > 3
    assert len({one["subject"] for one in inputs}) > 3


@pytest.mark.parametrize("what", ["kills", "interrupts"])
def test_a_run_that_is_struck_leaves_the_old_or_the_new_one(attacked: Path, what: str) -> None:
    bouts = found(attacked, what)
    assert [one["fault"] for one in bouts] == [""] * 3
    codes = [strike["code"] for one in bouts for strike in one["strikes"]]
    assert len([code for code in codes if code]) >= 2, "the strikes came too late"
