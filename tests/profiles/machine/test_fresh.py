"""Processes in which the folder that the user stands in shadows nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgepress.profiles.machine.fresh import module_command

# What a stranger's folder may hold: each would be found before Python's own, or an installed package.
NAMES = ("numpy", "json", "runpy", "pickle", "socket", "concurrent", "multiprocessing", "tempfile", "own_module")
MARK = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\nraise ImportError('shadowed')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    for name in NAMES:
        (tmp_path / "folder" / f"{name}.py").write_text(MARK)
    return tmp_path / "folder"


def python(version: str) -> str:
    """An interpreter of that version, which needs nothing installed."""
    beside = sorted(map(str, Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python{version}")))
    for found in (shutil.which(f"python{version}"), *beside):
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.parametrize("version", ["3.10", "3.11"])
def test_a_module_runs_without_the_folder(folder: Path, tmp_path: Path, version: str) -> None:
    """Python 3.10 knows no PYTHONSAFEPATH."""
    (tmp_path / "site").mkdir()
    said = "import json, pickle, sys, tempfile\nprint(sys.argv[1:], __name__)\nimport own_module\n"
    (tmp_path / "site" / "asked.py").write_text(said)
    (tmp_path / "site" / "own_module.py").write_text("print('the right one')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [python(version), *module_command("asked", "x", "-y")[1:]],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["['x', '-y'] __main__", "the right one"], done.stderr
    assert list(folder.glob("*.ran")) == []


WORKERS = """
import os, sys
sys.path = [entry for entry in sys.path if entry]  # as for an installed command
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from edgepress.profiles.machine.fresh import safe_workers

os.chdir(sys.argv[1])
with safe_workers(), ProcessPoolExecutor(1, get_context("spawn")) as pool:
    print(pool.submit(abs, -7).result())
"""


def test_worker_processes_run_without_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "workers.py").write_text(
        f"if __name__ == '__main__':\n    {WORKERS.strip().replace(chr(10), chr(10) + '    ')}\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "workers.py", folder], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "7\n", done.stderr
    assert list(folder.glob("*.ran")) == []
