"""The page on errors quotes messages that the product has, and shows the ones that are cheap to make."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ._flow import SMALL, Cli
from ._pages import ROOT

PAGE = ROOT / "docs/troubleshooting.md"
ENTRY = re.compile(r"^### `(.*)`\n(?:<!-- (slow )?try (\d): (.*) -->\n)?", re.MULTILINE)
ENTRIES = ENTRY.findall(PAGE.read_text())
QUOTED = [quoted for quoted, *_ in ENTRIES]
# Those called slow need a whole export first.
SHOWN = [
    pytest.param(quoted, int(code), line, id=quoted[:40], marks=[pytest.mark.slow] if slow else [])
    for quoted, slow, code, line in ENTRIES
    if code
]


def pattern(quoted: str) -> re.Pattern[str]:
    """A quoted message, in which `...` stands for anything."""
    return re.compile(".*?".join(map(re.escape, quoted.split("..."))), re.DOTALL)


@cache
def messages() -> tuple[str, ...]:
    """Every string of the product, with `…` for what is put into it."""
    folders = ("backends", "calibration", "exporter", "profiles")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(text for path in files for text in _strings(ast.parse(path.read_text())))


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_page_has_entries() -> None:
    assert len(ENTRIES) > 40
    assert len(SHOWN) > 20
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_in_the_source(quoted: str) -> None:
    assert any(pattern(quoted).search(text) for text in messages()), "this message is not in the product any more"


def test_a_message_that_nobody_writes_is_found_out() -> None:
    assert not any(pattern("... is not a teapot").search(text) for text in messages())


@pytest.mark.parametrize(("quoted", "code", "line"), SHOWN)
def test_a_message_is_printed(quoted: str, code: int, line: str, cli: Cli, tmp_path: Path) -> None:
    """By the command in the page's source, with its code."""
    (tmp_path / "model.py").write_text(SMALL)
    *before, last = line.split(" && ")
    for command in before:
        if command.startswith("edgepress "):
            assert (ran := cli(*shlex.split(command)[1:])).code == 0, ran.err
        else:
            subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    ran = cli(*shlex.split(last)[1:])
    ran.failed(code)
    assert pattern(quoted).search(ran.err), ran.err
