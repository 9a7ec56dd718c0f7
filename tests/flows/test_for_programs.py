"""`--json`: what is printed is JSON and nothing else, and has the names that docs/ci.md gives."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from edgepress.exporter.cli import COMMANDS

from ._flow import Cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ci.md"


def documented() -> dict[str, tuple[str, ...]]:
    """The names in the table of the page, by command; the first of a list of alternatives."""
    section = PAGE.read_text(encoding="utf-8").partition("## What programs read\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*`) \| (.*) \|$", section, re.MULTILINE)
    return {
        command: tuple(re.findall(r"`(\w+)`", said.partition(", each with")[0]))
        for commands, said in rows
        for command in re.findall(r"`(\w+)`", commands)
    }


def strict(text: str) -> Any:
    """JSON as other programs read it: without NaN and Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_command_that_prints_json_is_on_the_page() -> None:
    commands = {name: import_module(f"edgepress.exporter.cli.{name}").command for name in COMMANDS}
    printing = {name for name, command in commands.items() if any("--json" in option.opts for option in command.params)}
    assert printing == documented().keys()


@pytest.mark.parametrize("name", ["verify", "lint", "targets", "doctor"])
def test_the_names_of_the_page_are_those_of_the_output(name: str, digits: dict[str, Path], cli: Cli) -> None:
    words: dict[str, Sequence[object]] = {"verify": [digits["cpu"]], "lint": [digits["cpu"]]}
    data = strict(cli(name, *words.get(name, ()), "--json").out)
    for part in data if isinstance(data, list) else [data]:
        assert set(documented()[name]) <= set(part), name


def test_a_fault_leaves_standard_output_empty(cli: Cli) -> None:
    ran = cli("verify", "nowhere", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: nowhere is not a bundle")
