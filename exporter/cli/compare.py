"""`edgepress compare`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import json_option, measuring_options, on_option, quiet_option

if TYPE_CHECKING:
    from ...profiles.findings.comparison import Comparison
    from ...profiles.findings.profile import Profile
    from ..measuring.compare import Rules
    from ..measuring.subject import Subject


@click.command(no_args_is_help=True)
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=50.0,
    show_default=True,
    help="Wall time of the whole comparison; it ends earlier where the interval is narrow enough, and takes longer "
    "where five processes an arm do.",
)
@click.option("--force", is_flag=True, help="Compare what differs in machine, threads, versions or shapes.")
@click.option("-t", "--target", help="What .onnx files are compiled for; default server-cpu. A bundle has its own.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.json", help="Keep all raw samples."
)
@on_option
@measuring_options
@quiet_option
@json_option
def command(
    a: Path,
    b: Path,
    seconds: float,
    force: bool,
    target: str | None,
    output: Path | None,
    on: str | None,
    threads: int | None,
    timeout: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Say whether B is faster than A, by how much, and how sure that is: faster, slower, or no difference shown.

    A and B are bundles, .onnx files, or files that `edgepress profile --output` wrote. Fresh processes of both take
    turns; a difference is claimed where the 95 % interval of the ratio excludes 1 and the ratio is at least 2 %. A file
    was measured at another time, which is weaker evidence, and is said. The code is 0 whatever the verdict.
    """
    import json

    from ...backends.places.remote import EngineFailedError
    from ..measuring.compare import Rules
    from ..measuring.show import comparison_data, comparison_lines
    from .profile import check_writable

    rules = Rules(seconds=seconds, force=force, timeout=timeout)
    check_writable(output)
    found = _compared(a, b, target, on, threads, rules, quiet=quiet or as_json)
    if output is not None:
        _save(output, found)
    if as_json:
        click.echo(json.dumps(comparison_data(found), indent=2))
    elif not quiet:
        click.echo("\n".join(comparison_lines(found)))
    if found.outcome.unfinished:
        raise EngineFailedError(f"The comparison is unfinished: {found.outcome.unfinished}")


def _compared(
    a: Path, b: Path, target: str | None, on: str | None, threads: int | None, rules: Rules, *, quiet: bool
) -> Comparison:
    from ...profiles.findings.profile import Profile
    from ..measuring.compare import compare, compare_stored
    from ..measuring.subject import this_setup
    from ..progress import progress
    from .profile import shown_step
    from .summary import command_line

    with ExitStack() as stack:
        first, second = (_given(path, target, on, stack) for path in (a, b))
        places = [one.place for one in (first, second) if not isinstance(one, Profile)]
        setup = this_setup(threads, *places[:1])
        shown = stack.enter_context(progress(quiet=quiet))
        if isinstance(first, Profile) or isinstance(second, Profile):
            return compare_stored(first, second, setup, rules, command_line(), lambda title: shown_step(shown, title))
        tick = stack.enter_context(shown_step(shown, "compare"))
        return compare(first, second, setup, rules, command_line(), tick)


def _given(path: Path, target: str | None, on: str | None, stack: ExitStack) -> Subject | Profile:
    from ...profiles.findings.profile import load_profile
    from ..measuring.subject import open_subject

    if path.suffix.lower() == ".json" and not path.is_dir():
        return load_profile(path)
    return stack.enter_context(open_subject(path, target if path.suffix.lower() == ".onnx" else None, on))


def _save(path: Path, found: object) -> None:
    from ...profiles.findings.files import json_text
    from ...profiles.machine.writing import write_whole

    write_whole(path, json_text(found))
