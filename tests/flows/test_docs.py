"""The documentation is true: every command in it parses, and runs in the order of its page, in an empty directory."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ._flow import SMALL, Cli
from ._judged import JUDGED
from ._language import tale
from ._pages import ROOT, Command, Page, load_page, pages, shown

PAGES = [ROOT / "README.md", *pages()]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix(""))


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_command_parses(path: Path) -> None:
    """Each command's options and targets exist, also where it takes another device to run it."""
    from edgepress.exporter.cli import COMMANDS, cli
    from edgepress.profiles.device.target import load_target

    for command in load_page(path).commands:
        words = shlex.split(command.words)
        if Path(words[0]).name != "edgepress" or words[1].startswith("-"):
            continue
        assert words[1] in COMMANDS, command.words
        context = cli.get_command(None, words[1]).make_context(words[1], words[2:])  # type: ignore[arg-type, union-attr]
        for group in context.params.get("targets", ()):
            for one in [group] if isinstance(group, str) else group:
                if not one.endswith(".toml"):
                    load_target(one)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text()
    for link in (a or b for a, b in LINK.findall(text)):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{path.name}: {link}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}, link


def test_scripts_and_examples_that_are_named_exist() -> None:
    for path in PAGES:
        text = " ".join(command.words for command in load_page(path).commands)
        for found in set(re.findall(r"(?:scripts|examples)/[\w./-]*\w", text)):
            assert (ROOT / found).exists(), f"{path.name} names {found}"
        for script in set(re.findall(r"scripts/\w+", text)):
            assert os.access(ROOT / script, os.X_OK) or (ROOT / script).is_dir()


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text() + (ROOT / "docs/targets/README.md").read_text()
    for path in pages():
        if path.name != "README.md":
            assert f"({path.name})" in index, f"{path.name} is in no index"


def test_what_is_not_run_says_why() -> None:
    for path in PAGES:
        for block in load_page(path).blocks:
            for said in ("not run", "slow", "varies"):
                assert len(block.said.get(said, "a reason")) > 5


WALKED = [path for path in PAGES if load_page(path).commands]
# Of the targets one a family that differs; the others, and the page that calibrates most, run with the slow tests.
FIRST = {"cpu", "rpi5", "jetson-orin-nano-8gb"}
QUICK = [
    path for path in WALKED if path.stem in FIRST or (path.parent.name != "targets" and path.stem != "calibration")
]


@pytest.mark.parametrize("path", QUICK, ids=name)
def test_the_page_runs(path: Path, cli: Cli, tmp_path: Path) -> None:
    """Without latencies, and without what the page calls slow; the slow test runs the page as it stands."""
    walk(load_page(path), cli, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("path", WALKED, ids=name)
def test_the_page_runs_as_it_stands(path: Path, cli: Cli, tmp_path: Path) -> None:
    walk(load_page(path), cli, tmp_path, slow=True)


def walk(page: Page, cli: Cli, directory: Path, slow: bool) -> None:
    """Run the page from its first line to its last."""
    for given in page.given:
        if (ROOT / given).is_dir():
            shutil.copytree(ROOT / given, directory / given)
        elif given.endswith("/"):
            tale(directory / given)
        else:
            (directory / given).write_text(SMALL + JUDGED)
    for block in page.blocks:
        if file := block.said.get("file"):
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / file).write_text("\n".join(block.text) + "\n")
        if "not run" in block.said or ("slow" in block.said and not slow):
            continue
        for line in block.first:
            run(Command(words=line), cli, directory, measured=False)
        commands = block.commands
        for command in commands:
            code = int(block.said.get("code", 0)) if command is commands[-1] else 0
            where = f"{page.path.name}, line {block.line}: {command.words}"
            printed = run(command, cli, directory, measured=slow, code=code, where=where)
            # What a measurement decides may be another thing on this machine.
            unmeasured = "--no-measure" in command.words or (not slow and "export" not in command.words)
            if unmeasured and "varies" not in block.said:
                assert not (missing := shown(command.output, printed)), f"{where}\nnot printed: {missing}\n{printed}"


def run(command: Command, cli: Cli, directory: Path, measured: bool, code: int = 0, where: str = "") -> str:
    """What a command prints; one of ours runs in a process that has torch loaded, any other in a shell."""
    words = [os.path.expandvars(word) for word in shlex.split(command.words)]
    if words[0] == "edgepress":
        timed = any(word in command.words for word in ("latency", "speedup", "--measure"))
        extra = ["--no-measure"] if words[1] == "export" and not measured and not timed else []
        ran = cli(*words[1:], *extra, env={"COLUMNS": "80"})
        assert ran.code == code, f"{where}: code {ran.code}\n{ran.err}"
        return ran.out + ran.err
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shell = shutil.which("bash")
    assert shell is not None
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        [shell, "-c", command.words], cwd=directory, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, f"{where}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_the_pages_of_the_targets_are_fresh() -> None:
    """Write them anew with scripts/targets."""
    spec = importlib.util.spec_from_file_location("_targets", ROOT / "scripts/_targets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.pages()
    assert set(made) == {path.name for path in (ROOT / "docs/targets").glob("*.md")}
    for file, text in made.items():
        assert (ROOT / "docs/targets" / file).read_text() == text, f"{file} is stale: run scripts/targets"
