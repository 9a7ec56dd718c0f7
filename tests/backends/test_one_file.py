"""Programs that go to a device as one text: what they are made of does not meet there, and old Pythons read it."""

from __future__ import annotations

import ast
import collections
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgepress.backends.onboard import source as onboard
from edgepress.backends.places.ssh.helper import source as helper

ROOT = Path(__file__).parents[2] / "backends"
PROGRAMS = [
    pytest.param(onboard.joined(), onboard.MODULES, ROOT / "onboard", id="build.py"),
    pytest.param(helper.joined(), helper.MODULES, ROOT / "places" / "ssh" / "helper", id="helper"),
]

# What 3.8 brought, and the helper imports where it is there.
ASKED_FOR = "importlib.metadata"


@pytest.mark.parametrize(("text", "modules", "directory"), PROGRAMS)
def test_its_modules_do_not_meet_in_one_file(text: str, modules: tuple[str, ...], directory: Path) -> None:
    tree = ast.parse(text)
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        flat = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
        names += [target.id for target in flat if isinstance(target, ast.Name)]
    assert [name for name, count in collections.Counter(names).items() if count > 1] == []
    assert not re.search(r"^from \.", text, re.MULTILINE)
    assert {path.stem for path in directory.glob("*.py")} == {*modules, "__init__", "source"}


@pytest.mark.parametrize(("text", "modules", "directory"), PROGRAMS)
def test_it_is_python_3_6_and_needs_the_standard_library_alone(
    text: str, modules: tuple[str, ...], directory: Path
) -> None:
    tree = ast.parse(text, feature_version=(3, 6))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imported if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imported if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names
    assert "__future__" not in names
    # What neither `feature_version` nor vermin sees, and 3.6 and 3.7 do not read.
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.Return)]
    bare = [value for value in values if isinstance(value, ast.Tuple) and written(text, value)[0] != "("]
    assert not [value for value in bare if any(isinstance(one, ast.Starred) for one in value.elts)]
    annotated = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)}
    assert not [written(text, value) for value in bare if id(value) in annotated]


def written(text: str, node: ast.expr) -> str:
    return ast.get_source_segment(text, node) or " "


@pytest.mark.parametrize(("text", "modules", "directory"), PROGRAMS)
def test_nothing_in_it_came_after_python_3_6(
    text: str, modules: tuple[str, ...], directory: Path, tmp_path: Path
) -> None:
    """By vermin, which knows since when each function, argument and piece of syntax is there."""
    pytest.importorskip("vermin", reason="vermin is not installed")
    (tmp_path / "one.py").write_text(text)
    run = "import sys, vermin; sys.exit(vermin.main())"
    words = [sys.executable, "-c", run, "-t=3.6-", "--no-tips", "--eval-annotations", "--exclude", ASKED_FOR, "one.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (tmp_path / "one.py").write_text(text + "\nif (n := 1):\n    pass\n")
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode != 0
