"""The way of a new user, from a built wheel in an environment of its own: README to report, on a model of theirs.

The files are those of the tutorial. The environment is a real one in which the wheel was installed by pip; its
dependencies are those that are installed here, since resolving torch anew takes minutes (the last tests do that).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from ._flow import Ran, contents
from ._pages import ROOT, load_page

User = Callable[..., Ran]


def made(where: Path, wheel: Path) -> Path:
    """A fresh environment with the wheel alone; the directory of its programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", where], check=True, timeout=120)
    programs = where / "bin"
    words = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-deps", "--no-index", wheel]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=clean(programs))
    assert done.returncode == 0, done.stderr
    return programs


def clean(programs: Path) -> dict[str, str]:
    """An environment in which nothing leads back to the tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "VIRTUAL"))}
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return {**kept, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, and behind it what is installed here; the tree's own entry there is a `.pth`, which is not read."""
    found = made(tmp_path_factory.mktemp("user") / "venv", wheel)
    site = next(found.parent.glob("lib/python*/site-packages"))
    (site / "zz_dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return found


@pytest.fixture
def user(programs: Path, tmp_path: Path) -> User:
    """A command as the user types it, in a directory of their own."""

    def run(*words: object, timeout: float = 600) -> Ran:
        named = [str(programs / str(words[0])), *map(str, words[1:])]
        done = subprocess.run(named, cwd=tmp_path, env=clean(programs), capture_output=True, text=True, timeout=timeout)
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr)

    return run


def test_what_is_installed_is_the_wheel(user: User, programs: Path) -> None:
    where = user("python", "-c", "import edgepress.exporter; print(edgepress.exporter.__file__)").out
    assert where.startswith(str(programs.parent)), where
    assert user("edgepress", "--version").code == 0
    ran = user("edgepress", "doctor")
    assert ran.code == 0
    assert re.search(r"openvino +openvino [\d.]+ +compile and run", ran.out), ran.out


def test_the_first_commands_and_the_first_mistakes(user: User, tmp_path: Path) -> None:
    _begins(user, tmp_path)


@pytest.mark.slow
def test_from_readme_to_report(user: User, tmp_path: Path) -> None:
    """init, edit, export, verify, profile, report, with the mistakes that one makes on the way."""
    _begins(user, tmp_path)
    _edits(user, tmp_path)
    _exports(user, tmp_path)
    _looks(user, tmp_path)


def _begins(user: User, here: Path) -> None:
    ran = user("edgepress", "init", "model.py")
    assert (ran.code, ran.out) == (
        0,
        "model.py is written; fill in model(), inputs() and calibration(), then: "
        "edgepress export model.py --target cpu\n",
    )
    user("edgepress", "init", "model.py").failed(1, "model.py exists", "Choose another path")
    user("edgepress", "export", "modle.py", "--target", "cpu").failed(1, "modle.py does not exist", "model.py")
    user("edgepress", "export", "model.py", "--target", "cup").failed(1, "Unknown target 'cup'", "cpu")
    missing = user("edgepress", "export", "model.py")
    assert missing.code == 2
    assert "--target" in missing.err
    assert [path.name for path in here.iterdir()] == ["model.py"]


def _edits(user: User, here: Path) -> None:
    """The tutorial's files; first without the weights that its training writes."""
    for block in load_page(ROOT / "docs/tutorial.md").files:
        (here / block.said["file"]).write_text("\n".join(block.text) + "\n")
    export = ("edgepress", "export", "model.py", "--target", "server-cpu", "--no-measure")
    user(*export).failed(1, "model.py", "weights.pt")
    trained = user("python", "train.py")
    assert trained.code == 0, trained.err
    text = (here / "model.py").read_text()
    (here / "model.py").write_text(text.replace("count=2)", "count=1)"))
    user(*export).failed(1, "free ('batch')", "at least 2 along 'batch'")
    (here / "model.py").write_text(text)
    assert not (here / "dist").exists()


def _exports(user: User, here: Path) -> None:
    export = ("edgepress", "export", "model.py", "--no-measure", "--precision", "int8", "--target", "server-cpu,jetson")
    ran = user(*export)
    assert ran.code == 0, ran.err
    for name in ("server-cpu", "jetson-orin-nano-8gb"):
        assert f"dist/model-{name} is ready; report: dist/model-{name}/report.html" in ran.out
    assert "4 of 4 (100%)" in ran.out
    bundle = here / "dist/model-server-cpu"
    assert {"manifest.json", "model.onnx", "engine/model.onnx", "golden/inputs.npz", "report.html"} <= set(
        contents(bundle)
    )
    report = json.loads((bundle / "report.json").read_text())
    assert report["task"]["after"] > 0.9
    text = b"".join(contents(bundle).values())
    assert str(here).encode() not in text
    user("edgepress", "export", "model.py", "-t", "server-cpu").failed(1, "model-server-cpu exists", "--force")
    missed = user(
        "edgepress", "export", "model.py", "-t", "server-cpu", "--force", "--no-measure", "--budget", "size=1kB"
    )
    missed.failed(3, "budget was missed", "1kB asked: missed")


def _looks(user: User, here: Path) -> None:
    verified = user("edgepress", "verify", "dist/model-server-cpu")
    assert verified.code == 0, verified.err
    assert "golden outputs reproduced by onnxruntime" in verified.out
    user("edgepress", "verify", "dist/model-jetson-orin-nano-8gb").failed(5, "not built here", "edgepress build")
    user("edgepress", "verify", "dist").failed(1, "dist is not a bundle")
    profiled = user("edgepress", "profile", "dist/model-server-cpu", "--scenario", "cold-start", "-o", "cold.json")
    assert profiled.code == 0, profiled.err
    bundles = ("dist/model-server-cpu", "dist/model-jetson-orin-nano-8gb")
    reported = user("edgepress", "report", *bundles, "cold.json", "-o", "report.html")
    assert reported.code == 0, reported.err
    page = (here / "report.html").read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "<script" not in page
    for words in ("server-cpu", "jetson-orin-nano-8gb", "not built here"):
        assert words in page
    (here / "dist/model-server-cpu/model.onnx").write_bytes(b"changed")
    user("edgepress", "verify", "dist/model-server-cpu").failed(4, "model.onnx was changed", "Copy the bundle again")


@pytest.mark.slow
def test_a_device_needs_the_base_install_and_a_runtime(
    user: User, wheel: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A truly empty environment, dependencies resolved by pip: no torch and no onnx in it."""
    user("edgepress", "init", "model.py")
    assert user("edgepress", "export", "model.py", "-t", "server-cpu,cpu", "--no-measure", "-q").code == 0
    where = tmp_path_factory.mktemp("device") / "venv"
    _resolved(where, f"{wheel}[onnxruntime]")

    def device(*words: str) -> Ran:
        done = subprocess.run(
            [str(where / "bin" / "edgepress"), *words],
            cwd=tmp_path,
            env=clean(where / "bin"),
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr)

    assert "golden outputs reproduced by onnxruntime" in device("verify", "dist/model-server-cpu").out
    device("verify", "dist/model-cpu").failed(5, "openvino", "edgepress[openvino]")
    device("export", "model.py", "-t", "cpu").failed(5, "Exporting needs", "edgepress[host]")


@pytest.mark.slow
def test_the_host_install_resolves(
    user: User, wheel: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What the README says to type on the machine that exports; torch is what the index of this machine has."""
    where = tmp_path_factory.mktemp("host") / "venv"
    constraints = [] if sys.version_info < (3, 11) else ["-c", str(ROOT / "constraints.txt")]
    _resolved(where, f"{wheel}[host]", *constraints)
    words = [str(where / "bin" / "edgepress")]
    for more in (("init", "model.py"), ("export", "model.py", "-t", "cpu,server-cpu", "--no-measure", "-q")):
        done = subprocess.run([*words, *more], cwd=tmp_path, env=clean(where / "bin"), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert user("edgepress", "verify", "dist/model-cpu").code == 0


def _resolved(where: Path, *what: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", where], check=True, timeout=120)
    done = subprocess.run(
        [where / "bin/python", "-m", "pip", "install", "-q", *what],
        env=clean(where / "bin"),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
