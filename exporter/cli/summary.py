"""The closing table of an export, for people and for machines."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...errors import EdgepressError, TargetsError
from ...profiles.findings.report import Report, rows
from ...profiles.machine.given import as_typed
from ..bundle.manifest import Bundle
from ..bundle.seal import load_report


def command_line() -> str:
    """How to do it again: the command as typed, with the names of files but not where they lie, and of no machine."""
    return shlex.join(["edgepress", *(_relative(_HOST.sub(r"\1HOST", word)) for word in sys.argv[1:])])


@contextmanager
def summarized(targets: Sequence[str], made: Mapping[str, Bundle], *, as_json: bool, quiet: bool) -> Iterator[None]:
    """Say at the end of the block what became of each target, however it ends.

    Args:
        targets: their names, in order.
        made: bundles by target, filled by the block.
    """
    errors: Mapping[str, EdgepressError] = {}
    done = False
    try:
        yield
        done = True
    except TargetsError as error:
        errors, done = error.errors, True
        raise
    finally:
        bundles = [made[name] for name in targets if name in made]
        if as_json and done:
            print_json(bundles, errors)
        elif not quiet and not as_json:
            print_summary(bundles)
            if len(targets) > 1:
                _print_targets(targets, made, errors)


def print_summary(bundles: Sequence[Bundle]) -> None:
    """One table a bundle on standard output."""
    console = Console(soft_wrap=False)
    for bundle in bundles:
        report = load_report(bundle.path)
        console.print(_table(report))
        for gap in report.missing:
            console.print(f"[yellow]![/] {escape(gap.why)}", soft_wrap=True)
        console.print(
            f"[bold green]{escape(str(as_typed(bundle.path)))}[/] is ready; report:",
            str(as_typed(bundle.report)),
            soft_wrap=True,
        )
        console.print()


def _print_targets(targets: Sequence[str], made: Mapping[str, Bundle], errors: Mapping[str, EdgepressError]) -> None:
    """A line a target: its bundle, or why there is none."""
    console = Console(soft_wrap=True)
    for name in targets:
        if name in made:
            console.print(f"{escape(name)}: [bold green]made[/], {escape(str(as_typed(made[name].path)))}")
        elif name in errors:
            console.print(f"{escape(name)}: [bold red]failed[/], {escape(errors[name].message.splitlines()[0])}")
        else:
            console.print(f"{escape(name)}: [yellow]not tried[/], or not to the end")


def print_json(bundles: Sequence[Bundle], errors: Mapping[str, EdgepressError]) -> None:
    """Paths and manifests of the bundles, and what ended the others, as one JSON document on standard output."""
    data = [{"path": str(as_typed(bundle.path)), "manifest": to_jsonable_python(bundle.manifest)} for bundle in bundles]
    failed = [
        {"target": name, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        for name, error in errors.items()
    ]
    print(json.dumps({"bundles": data, "failed": failed}, indent=2, sort_keys=True))


def _table(report: Report) -> Table:
    table = Table(
        title=f"{report.model} for {report.target} ({report.precision}, {report.backend})", title_justify="left"
    )
    table.add_column("")
    table.add_column("FP32", justify="right")
    table.add_column("shipped")
    for what, before, after in rows(report):
        table.add_row(what, escape(before), escape(after))
    return table


# Whose device it was says nothing of the bundle.
_HOST = re.compile(r"^((?:--on=)?(?:ssh|adb)://).*")
# A path begins a word, or follows the letter of an option, `=` or the comma of a list.
_DIRECTORY = re.compile(r"(^-\w|^|(?<=[=,]))(?:~[^/=,]*|\.\.|\.)?/(?:[^/=,]*/)*")


def _relative(word: str) -> str:
    return _DIRECTORY.sub(r"\1", word.rstrip("/"))
