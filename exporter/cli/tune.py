"""`edgepress tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...profiles.machine.given import as_typed
from .option_types import SEED, THREADS, Duration, Steady, TargetList
from .options import asked, calibration_options, json_option, quiet_option, recipe_options, source_options

if TYPE_CHECKING:
    from ..tuning.plan import Tuned


@click.command(no_args_is_help=True)
@click.argument("source")
@click.option("-t", "--target", "targets", required=True, type=TargetList(), help="One target, as for `export`.")
@click.option(
    "-o",
    "--output",
    type=Steady(file_okay=False),
    default=Path("dist"),
    show_default=True,
    help="Directory that receives MODEL-TARGET/ and MODEL-TARGET.tune/.",
)
@click.option("--force", is_flag=True, help="Replace a bundle that exists, whole; the study goes on in any case.")
@recipe_options
@click.option("--trials", type=click.IntRange(min=1), default=40, show_default=True, help="Trials of the study in all.")
@click.option("--timeout", type=Duration(), help="Start no trial after this time, as in 90s, 10m or 2h.")
@click.option("--storage", metavar="FILE|URL", help="The study: a file, or a database that several machines work on.")
@click.option("--study", metavar="NAME", help="The study's name there; default MODEL-TARGET.")
@click.option("--search-only", is_flag=True, help="Do trials and end: another process of the study exports.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the search, of inputs and of training.")
@click.option("--threads", type=THREADS, help="Fix the threads of the runtime instead of searching.")
@calibration_options
@source_options
@quiet_option
@json_option
def command(
    source: str,
    targets: list[str],
    output: Path,
    force: bool,
    trials: int,
    timeout: float | None,
    storage: str | None,
    study: str | None,
    search_only: bool,
    trust_source: bool,
    quiet: bool,
    as_json: bool,
    **_settings: Any,
) -> None:
    """Search for the recipe of SOURCE that keeps a budget, and export it.

    Searched is what the recipe and the options leave open: precision, pruning, layers in float, ranges, threads; of a
    model that writes text precision, blocks, zero points and rounding. The
    cheapest point that keeps every limit is exported: the fastest, of those about as fast the smallest. A search that
    was killed goes on when it is started again; with one --storage several processes share it.

    \b
    Example:
      edgepress tune model.py --target cpu --max-latency 5ms --max-size 4MB --max-drop 1%
    """  # noqa: D301
    from rich.console import Console

    from ...errors import InputError
    from ...profiles.device.target import load_target
    from ..progress import progress
    from .host import load_any, require_host
    from .summary import command_line

    if len(targets) != 1:
        raise InputError(f"One target is tuned for at a time; {', '.join(targets)} were given.")
    target, recipe = load_target(targets[0]), asked()
    require_host()
    with progress(quiet=quiet or as_json) as shown:
        with shown.step("load", {}):
            loaded = load_any(source, trust=trust_source)
            from ..tuning.plan import Plan
            from ..tuning.search import tune
        plan = Plan(
            source=loaded,
            target=target,
            recipe=recipe,
            output=output,
            storage=storage,
            study=study,
            trials=trials,
            timeout=timeout,
            force=force,
            conclude=not search_only,
        )
        found = tune(plan, shown, Console(quiet=quiet, stderr=as_json), command_line())
    if as_json:
        _print_json(found)
    elif not quiet:
        _print_lines(found)


def _print_lines(found: Tuned) -> None:
    from .summary import print_summary

    if found.bundle is not None:
        print_summary([found.bundle])
        plots = ", ".join(str(as_typed(plot)) for plot in found.plots)
        click.echo(f"recipe: {_said(found.recipe)}; plot: {plots}; with the bundle: {_said(found.page)}")


def _print_json(found: Tuned) -> None:
    import json

    data = {
        "bundle": None if found.bundle is None else str(as_typed(found.bundle.path)),
        "recipe": _said(found.recipe),
        "chosen": None if found.chosen is None else found.chosen.dump(),
        "front": [result.dump() for result in found.best],
        "trials": len(found.results),
    }
    click.echo(json.dumps(data, indent=2, sort_keys=True))


def _said(path: Path | None) -> str | None:
    return None if path is None else str(as_typed(path))
