"""The program by Pythons that edgepress does not run on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgepress.exporter.capture.golden import Golden

from ._program import STANDINS, listed


def _old_pythons() -> Iterator[str]:
    """Those before 3.10 that are in PATH, and that run."""
    for minor in (6, 7, 8, 9):
        path = shutil.which(f"python3.{minor}")
        told = path and subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout
        if path and (told or "").startswith(f"Python 3.{minor}."):
            yield path


OLD = [*_old_pythons()] or [pytest.param("", marks=pytest.mark.skip("no Python before 3.10 is in PATH"))]


@pytest.mark.parametrize("python", OLD)
def test_an_old_python_builds_proves_records_and_serves(
    python: str, bundle: Path, driver: Path, tmp_path: Path
) -> None:
    """From end to end, without any package: with a stand-in whose engine doubles its input."""
    feeds = tuple({"x": np.full((batch, 8, 16, 16), batch / 8, np.float32)} for batch in (1, 3))
    Golden(feeds=feeds, outputs=tuple({"y": feed["x"] * 2} for feed in feeds)).save(bundle / "golden")
    (bundle / "golden" / "graph.npz").unlink()
    listed(bundle)
    (place := tmp_path / "python").mkdir()
    shutil.copy(STANDINS / "doubling_tensorrt.py", place / "tensorrt.py")
    environment = {
        **os.environ,
        "PYTHONPATH": str(place),
        "LD_LIBRARY_PATH": str(driver),
        "XDG_CACHE_HOME": str(tmp_path),
    }
    command = [python, "-B", str(bundle / "engine" / "build.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads((bundle / "engine" / "built.json").read_text())
    assert record["versions"]["python"].startswith(Path(python).name.removeprefix("python"))
    assert record["golden"]["outputs"] == {"y": {"max_abs": 0.0, "sqnr_db": None}}
    assert record["flags"] == ["FP16", "INT8"]
    job = {"engine": None, "decoder": False, "logits": False, "affinity": []}
    (tmp_path / "job.json").write_text(json.dumps(job))
    asked = b"".join(json.dumps({"do": what}).encode() + b"\n" for what in ("machine", "tools", "warm"))
    served = subprocess.run(
        [*command, "--serve", tmp_path / "job.json"], env=environment, input=asked, capture_output=True, check=True
    )
    events = [json.loads(line) for line in served.stdout.splitlines()]
    assert [event["event"] for event in events[:4]] == ["started", "imported", "opened", "ready"]
    assert events[4]["answer"]["system"].endswith(f"Python {record['versions']['python']}")
    assert events[5]["answer"] == {"tensorrt": "8.0.1.6"}
    assert events[6]["kind"] == "UnservedError"
