"""What CI systems run, run as the shell commands they are: action.yml, the GitLab template, the pre-commit hook."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from ._flow import SMALL, Cli, Ran
from ._judged import JUDGED

ROOT = Path(__file__).resolve().parent.parent.parent
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")  # as GitHub's runner starts it


@pytest.fixture(scope="module")
def checkout(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this tree, as a CI system makes one."""
    root = tmp_path_factory.mktemp("checkout") / "edgepress"
    for name in tracked:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*author, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *words], cwd=root, check=True)
    return root


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a runner on which everything but edgepress is installed already, and no index is asked."""
    venv = tmp_path_factory.mktemp("runner") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    packages = venv / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for old in packages.glob("setuptools*"):  # which Python brings along, and which would hide the one installed
        shutil.rmtree(old)
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    path = os.pathsep.join((str(venv / "bin"), kept["PATH"]))
    # pip reads 0 as "no isolation".
    return {**kept, "PATH": path, "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "OMP_NUM_THREADS": "1"}


def run(script: str, cwd: Path, env: Mapping[str, str]) -> Ran:
    done = subprocess.run([*BASH, script], cwd=cwd, env=dict(env), capture_output=True, text=True, timeout=600)
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


class Action:
    """The steps of action.yml, with inputs and contexts filled in as GitHub does."""

    def __init__(self, checkout: Path, workspace: Path, machine: Mapping[str, str], **inputs: str) -> None:
        self.data: dict[str, Any] = yaml.safe_load((checkout / "action.yml").read_text())
        unknown = inputs.keys() - {name.replace("-", "_") for name in self.data["inputs"]}
        assert not unknown
        self.workspace, self.machine = workspace, machine
        self.known = {"github.action_path": str(checkout), "runner.os": "Linux", "runner.arch": "X64"}
        for name, spec in self.data["inputs"].items():
            self.known[f"inputs.{name}"] = inputs.get(name.replace("-", "_"), spec.get("default"))
        self.outputs = workspace / "github-output"
        self.summary = workspace / "github-summary"

    def filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ *(.+?) *\}\}", lambda match: self.known[match[1]], text)

    def step(self, name: str) -> Ran:
        step = next(step for step in self.data["runs"]["steps"] if step.get("name") == name)
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "what a user writes would be read as a command"
        own = {key: self.filled(value) for key, value in step["env"].items()}
        given = {"GITHUB_OUTPUT": str(self.outputs), "GITHUB_STEP_SUMMARY": str(self.summary)}
        return run(step["run"], self.workspace, {**self.machine, **given, **own})


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/judged.py").write_text(SMALL + JUDGED)
    return tmp_path / "work"


FAST = "--precision\nint8\n--no-measure"


@pytest.mark.slow
def test_the_steps_of_the_action(checkout: Path, workspace: Path, machine: dict[str, str]) -> None:
    budget = "size=1MB\naccuracy_drop=1%\n"
    inputs = {"source": "judged.py", "targets": "server-cpu", "arguments": FAST, "baseline": "previous"}
    action = Action(checkout, workspace, machine, **inputs, budget=budget)
    assert (found := action.step("Install edgepress")).code == 0, found.err
    assert (found := action.step("Export and judge")).code == 0, found.err
    assert action.outputs.read_text() == "code=0\nbundles=dist\njunit=dist/junit.xml\n"
    assert "**passed**" in action.summary.read_text()
    assert (workspace / "dist/judged-server-cpu/manifest.json").is_file()

    # The next run restores `dist` and has the bundle of the last release as its baseline.
    shutil.copytree(workspace / "dist", workspace / "previous")
    before = (workspace / "dist/judged-server-cpu/manifest.json").stat().st_ino
    tight = Action(checkout, workspace, machine, **inputs, budget="size=1kB; echo $(whoami)`ls`\n")
    tight.step("Export and judge").failed(1, "whoami", "is unknown")
    assert (found := action.step("Export and judge")).code == 0, found.err
    assert "is unchanged" in found.err
    assert (workspace / "dist/judged-server-cpu/manifest.json").stat().st_ino == before

    missed = Action(checkout, workspace, machine, **inputs, budget="size=1kB")
    assert missed.step("Export and judge").code == 3
    assert missed.outputs.read_text().endswith("code=3\nbundles=dist\njunit=dist/junit.xml\n")
    assert "**failed: size of server-cpu missed**" in missed.summary.read_text()
    cases = {case.attrib["name"]: [child.tag for child in case] for case in _cases(workspace / "dist/junit.xml")}
    assert cases["size"] == ["failure"]
    assert cases["size_regression"] == ["system-out"]


@pytest.mark.slow
def test_the_gitlab_job(checkout: Path, workspace: Path, machine: dict[str, str]) -> None:
    spec, jobs = yaml.safe_load_all((checkout / "templates/edgepress.yml").read_text())
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    inputs = {name: one.get("default") for name, one in spec["spec"]["inputs"].items()} | {
        "repository": str(checkout),
        "revision": revision.stdout.strip(),
        "source": "judged.py",
        "targets": "server-cpu",
        "budget": "size=1kB",
        "arguments": FAST,
    }
    assert None not in inputs.values()

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [filled(inner) for inner in value]
        text = re.sub(r"\$\[\[ *inputs\.([\w-]+) *\]\]", lambda match: inputs[match[1]], str(value))
        return text.replace("$CI_PROJECT_DIR", str(workspace))

    job = filled(jobs["edgepress"])
    ran = run("\n".join([*job["before_script"], *job["script"]]), workspace, {**machine, **job["variables"]})
    assert ran.code == 3, ran.err
    assert "size: " in ran.err
    assert (workspace / job["artifacts"]["reports"]["junit"]).is_file()
    assert "**failed: size of server-cpu missed**" in (workspace / "dist/summary.md").read_text()


def test_the_hook_checks_the_bundles_that_are_committed(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "judged.py"
    source.write_text(SMALL + JUDGED)
    words = ("-t", "server-cpu", "--precision", "int8", "--no-measure", "-q", "--budget", "size=1MB")
    assert cli("export", source, *words).code == 0
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    file = "dist/judged-server-cpu/manifest.json"
    assert re.search(hook["files"], file)
    command, *entry = shlex.split(hook["entry"])
    assert command == "edgepress"
    ran = cli(*entry, file)
    assert (ran.code, ran.out) == (0, ""), ran.err
    (tmp_path / "dist/judged-server-cpu/model.onnx").write_bytes(b"cut")
    cli(*entry, file).failed(4, "model.onnx was changed")


def test_the_cache_has_one_name_for_each_source_and_targets(workspace: Path) -> None:
    """Other than a name made of the inputs, it holds no comma, which the cache refuses."""
    names = []
    for targets in ("cpu,rpi5", "cpu,rpi5", "cpu"):
        action = Action(ROOT, workspace, os.environ, source="models/a.py", targets=targets)
        assert action.step("Name the cache").code == 0
        names.append(action.outputs.read_text())
        action.outputs.unlink()
    assert all(re.fullmatch(r"cache=edgepress-[0-9a-f]{16}\n", name) for name in names)
    assert names[0] == names[1] != names[2]


def test_what_others_made_is_pinned() -> None:
    steps = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    for one in (*used, *re.findall(r"uses: +(actions/\S+)", (ROOT / "docs/ci.md").read_text())):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one), one


def _cases(path: Path) -> list[ElementTree.Element]:
    return ElementTree.parse(path).getroot().findall(".//testcase")
