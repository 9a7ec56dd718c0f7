"""Ctrl-C, SIGTERM and a lost terminal at any moment: exit code 128 + its number, nothing half-written anywhere."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from ._flow import EDGEPRESS, SMALL

# In each, the model file itself marks the moment by a file, and then takes longer than the test waits.
MOMENTS = {
    "load": ("def model():\n", "def model():\n    reached()\n"),
    # As numpy's import in C does.
    "import": (
        "import torch\n",
        "import torch\ntry:\n    reached()\nexcept KeyboardInterrupt:\n    raise ImportError('x failed to import')\n",
    ),
    "capture": (
        "return nn.Sequential(",
        """
    class Traced(nn.Module):
        def forward(self, x):
            if torch.compiler.is_exporting():
                reached()
            return x

    return nn.Sequential(Traced(), """,
    ),
    "calibration": ('yield {"input": batch(index)}', 'yield {"input": batch(index)}\n        reached()'),
    "evaluate": ("def calibration", "def evaluate(predict):\n    reached()\n\n\ndef calibration"),
    # The second call is the last thing that happens before latency is measured, for 10 seconds an arm.
    "measure": (
        "def calibration",
        """
calls = []


def evaluate(predict):
    calls.append(1)
    if len(calls) == 2:
        pathlib.Path("reached").touch()
    return 1.0


def calibration""",
    ),
}
REACHED = """
import pathlib, time

def reached():
    pathlib.Path("reached").touch()
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("load", signal.SIGHUP),
        ("import", signal.SIGINT),
        pytest.param("capture", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("calibration", signal.SIGTERM, marks=pytest.mark.slow),
        ("measure", signal.SIGINT),
        pytest.param("load", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("capture", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("calibration", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("evaluate", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("measure", signal.SIGTERM, marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_an_interrupted_export_leaves_nothing(
    tmp_path: Path, environment: dict[str, str], moment: str, number: signal.Signals
) -> None:
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    (work / "net.py").write_text(REACHED + SMALL.replace(*MOMENTS[moment], 1))
    process = subprocess.Popen(
        [EDGEPRESS, "export", "net.py", "-t", "server-cpu", "-o", "out"],
        cwd=work,
        env={**environment, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(work / "reached", process)
    time.sleep(1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert err.strip() == "error: Interrupted; nothing half-written is left behind."
    # torch itself makes an empty cache directory there whenever it exports; it stays after any other program too.
    assert [path for path in temporary.rglob("*") if not path.name.startswith("torchinductor_")] == []
    assert {p.name for p in work.iterdir()} <= {"net.py", "reached", "__pycache__"}


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.05)
