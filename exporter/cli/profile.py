"""`edgepress profile`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .gate_options import history_option
from .option_types import SizeList
from .options import json_option, measuring_options, on_option, quiet_option

if TYPE_CHECKING:
    from ...profiles.findings.profile import Profile
    from ..measuring.scenarios import Tick
    from ..progress import Progress


@click.command(no_args_is_help=True)
@click.argument("subject", metavar="BUNDLE|ONNX", type=click.Path(path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(("quick", "report")),
    default="quick",
    show_default=True,
    help="quick: at least 10 s and 200 samples. report: at least 60 s and 1024 samples, more cold starts.",
)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME",
    help="single-stream, offline or cold-start; repeatable. Default: all three.",
)
@click.option("-t", "--target", help="What an .onnx file is compiled for; default server-cpu. A bundle has its own.")
@click.option("--batches", type=SizeList(), help="Batches for offline, as 1,8; default those of 1, 4, 16 that fit.")
@click.option("--streams", type=SizeList(), help="Sessions at once for offline, as 1,2; default 1, 2, 4 ... threads.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.json", help="Keep all raw samples."
)
@on_option
@measuring_options
@history_option
@quiet_option
@json_option
def command(
    subject: Path,
    mode: str,
    scenarios: tuple[str, ...],
    target: str | None,
    batches: tuple[int, ...] | None,
    streams: tuple[int, ...] | None,
    output: Path | None,
    on: str | None,
    threads: int | None,
    timeout: float,
    history: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure the engine of BUNDLE, or an ONNX file: latency, throughput, cold start, memory, size, layers, energy.

    Of a decoder: how fast it reads prompts and writes behind them, time to the first token, and how far that is from
    what the memory allows.

    It runs in processes of its own, bound to as many cores as threads. A crash or a hang of the engine ends the
    measurement with code 4; what was measured before is kept and marked.
    """
    from ...backends.places.remote import EngineFailedError
    from ...profiles.findings.profile import save_profile
    from ..gate.outlets import Outlets
    from ..gate.recording import append, of_measurement
    from ..measuring.profile import ProfilePlan, chosen, profile
    from ..measuring.subject import open_subject, this_setup
    from ..progress import progress
    from .summary import command_line

    plan = ProfilePlan(mode=mode, scenarios=chosen(scenarios), batches=batches, streams=streams, timeout=timeout)
    check_writable(output)
    Outlets(history=history).check()
    with open_subject(subject, target, on) as opened, progress(quiet=quiet or as_json) as shown:
        setup = this_setup(threads, opened.place)
        found = profile(opened, setup, plan, command_line(), lambda title: shown_step(shown, title))
    if output is not None:
        save_profile(found, output)
    if history is not None:
        append(history, [of_measurement(found, opened.report.model if opened.report is not None else None)])
    _print(found, output, quiet=quiet, as_json=as_json)
    if found.unfinished:
        raise EngineFailedError(f"The measurement is unfinished: {found.unfinished}")


def _print(found: Profile, output: Path | None, *, quiet: bool, as_json: bool) -> None:
    import json

    from ..measuring.show import profile_data, profile_lines

    if as_json:
        click.echo(json.dumps(profile_data(found), indent=2))
    elif not quiet:
        kept = [] if output is None else [f"{'figures' if found.language else 'raw samples'}: {output}"]
        click.echo("\n".join([*profile_lines(found), *kept]))


@contextmanager
def shown_step(shown: Progress, title: str) -> Iterator[Tick]:
    """A step of the display that is told a share alone."""
    with shown.step(title, {}) as advance:
        yield lambda share: advance(share, "")


def check_writable(path: Path | None) -> None:
    """Fail before minutes are spent."""
    import os

    from ...errors import InputError

    if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK)):
        raise InputError(f"{path.parent} is not a writable directory.", hint="Choose another --output.")
