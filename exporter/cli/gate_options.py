"""The options of the gate, and the gate that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .option_types import Steady
from .options import Command

if TYPE_CHECKING:
    from ..gate.run import Gate

_FILE = Steady(dir_okay=False)


def gate_options(command: Command) -> Command:
    """What a bundle is compared with, and where the verdicts go."""
    for option in (
        click.option("--mlflow", metavar="URI", help="Log parameters, figures and the report to that tracking server."),
        history_option,
        click.option("--junit", type=_FILE, metavar="FILE", help="Write the verdicts as JUnit XML."),
        click.option(
            "--summary-file", type=_FILE, metavar="FILE", help="Write the verdicts as Markdown to FILE, replacing it."
        ),
        click.option(
            "--summary",
            is_flag=True,
            help="Write them as Markdown: appended to $GITHUB_STEP_SUMMARY where that is set, else to standard output.",
        ),
        click.option(
            "--on-unstable",
            type=click.Choice(("pass", "fail")),
            default="pass",
            show_default=True,
            help="What a limit is worth that a busy machine may have broken: a warning, or code 3.",
        ),
        click.option("--baseline-optional", is_flag=True, help="Go on where there is no baseline yet."),
        click.option(
            "--baseline",
            type=Steady(),
            metavar="DIR",
            help="An earlier bundle, or a directory of them: a regression that is shown is code 3.",
        ),
    ):
        command = option(command)
    return command


def history_option(command: Command) -> Command:
    """`--history`."""
    return click.option("--history", type=_FILE, metavar="FILE", help="Append a line of JSON with the figures.")(
        command
    )


def asked_gate(targets: Mapping[str, str], *, measure: bool) -> Gate:
    """The gate that the running command's options ask for.

    Args:
        targets: target by the name of its outcome.

    Raises:
        InputError: a regression is bounded and there is no baseline.
        UsageError: two documents for standard output.
    """
    from ...errors import InputError
    from ...profiles.budget.budget import REGRESSION, limit
    from ..gate.baseline import Baselines
    from ..gate.outlets import Outlets
    from ..gate.run import Gate

    given: dict[str, Any] = click.get_current_context().params
    limits = {name: limit(name, text) for name, text in given["budgets"].items()}
    baseline: Path | None = given["baseline"]
    if (relative := [name for name in limits if name.endswith(REGRESSION)]) and baseline is None:
        raise InputError(f"Budget {relative[0]} is against a baseline.", hint="Add --baseline DIR.")
    outlets = Outlets(**{name: given[name] for name in ("summary", "summary_file", "junit", "history", "mlflow")})
    if given.get("as_json") and outlets.to_standard_output:
        raise click.UsageError("--json and --summary would both write to standard output; give --summary-file FILE.")
    return Gate(
        targets=targets,
        limits=limits,
        baselines=None if baseline is None else Baselines(path=baseline, optional=given["baseline_optional"]),
        on_unstable=given["on_unstable"],
        measure=measure,
        outlets=outlets,
        warn=_warn,
    )


def _warn(text: str) -> None:
    click.secho("warning: ", fg="yellow", bold=True, err=True, nl=False)
    click.echo(text, err=True)
