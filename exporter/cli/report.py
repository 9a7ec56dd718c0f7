"""`edgepress report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import quiet_option

if TYPE_CHECKING:
    from ...profiles.reporting.render import Form

FORMATS: dict[str, Form] = {"html": "html", "htm": "html", "md": "md", "markdown": "md", "json": "json"}  # by ending


@click.command(no_args_is_help=True)
@click.argument("subjects", metavar="BUNDLE|FILE...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--history",
    "histories",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What `--history FILE` of export, check or profile wrote, drawn as trends; repeatable.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Default report.html, report.md or report.json here; - is standard output.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("html", "md", "json")),
    help="Default: what the name of the output says, else html.",
)
@click.option(
    "--tune",
    "study",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What `edgepress tune` wrote for the bundle; default BUNDLE.tune beside it, if there is one.",
)
@quiet_option
def command(
    subjects: tuple[Path, ...],
    histories: tuple[Path, ...],
    output: Path | None,
    form: Form | None,
    study: Path | None,
    quiet: bool,
) -> None:
    """Write one page on bundles, measurements, comparisons and histories; several bundles stand side by side.

    Each FILE is what `profile`, `compare` or `--history` wrote. The HTML page is one file that needs nothing else.

    \b
    Example:
      edgepress report dist/digits-cpu dist/digits-rpi5 -o digits.html
    """  # noqa: D301
    from ...errors import InputError
    from ...profiles.machine.environment import now
    from ...profiles.machine.writing import write_whole
    from ...profiles.reporting.render import rendered
    from ..bundle.reportables import load_reportable, load_trends

    if not subjects and not histories:
        raise click.UsageError("Give a bundle, a file, or --history FILE.")
    form = form or _form(output)
    target = output or Path(f"report.{form}")
    if str(target) != "-":
        _check(target)
    if study is not None and len(subjects) > 1:
        raise InputError("--tune is of one bundle; several were given.", hint="Leave it out: BUNDLE.tune is found.")
    found = [*(load_reportable(path, study) for path in subjects), *map(load_trends, histories)]
    text = rendered(found, form, now())
    if str(target) == "-":
        click.echo(text, nl=False)
        return
    write_whole(target, text)
    if not quiet:
        click.echo(f"{target} is written ({len(text.encode()) / 1e3:.0f} kB).")


def _form(output: Path | None) -> Form:
    """What the ending of the file says."""
    ending = "" if output is None else output.suffix.lower().lstrip(".")
    return FORMATS.get(ending, "html")


def _check(path: Path) -> None:
    """Fail before anything is read.

    Raises:
        InputError: the file cannot be written there, or would change a bundle.
    """
    from ...errors import InputError
    from ..bundle.manifest import MANIFEST
    from .profile import check_writable

    if path.is_dir():
        raise InputError(f"{path} is a directory.", hint=f"Name a file, as in --output {path / 'report.html'}.")
    check_writable(path)
    if (path.parent / MANIFEST).is_file():
        raise InputError(
            f"{path} would lie in a bundle, whose files are sealed by its manifest.",
            hint="Choose another --output; the bundle has reports of its own.",
        )
