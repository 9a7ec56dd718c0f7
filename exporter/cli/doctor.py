"""`edgepress doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import json_option

EMULATED = "emulate arm64"


@click.command()
@click.argument("directories", metavar="[DIRECTORY]...", nargs=-1, type=click.Path(file_okay=False, path_type=Path))
@click.option("--clean", "cleaning", is_flag=True, help="Remove what killed processes left, and say how much it was.")
@click.option(
    "--install-emulation",
    "installing",
    is_flag=True,
    help="Prepare ARM64 emulation in the user's cache, for --emulate arm64, and do nothing else.",
)
@json_option
def command(directories: tuple[Path, ...], cleaning: bool, installing: bool, as_json: bool) -> None:
    """Say, for each backend, whether this machine can compile and run with it, and what to do where it cannot.

    It also says what processes that were killed left in the temporary directory and in each DIRECTORY of bundles, by
    default dist; what a living process uses, or another user, is not among it.
    """
    if installing:
        from ...backends.places.emulation_install import install

        install(click.echo)
        return
    import json
    import tempfile

    from pydantic_core import to_jsonable_python

    from ...backends.places import emulation
    from ...backends.registry import backend_names, load_backend, tool_versions
    from ...profiles.machine import held
    from ...profiles.machine.environment import this_machine

    places = (Path(tempfile.gettempdir()), *(directories or (Path("dist"),)))
    left = [one for place in places for one in (held.clean if cleaning else held.leftovers)(place)]
    found = {name: load_backend(name).available() for name in backend_names()}
    arm64 = emulation.find()
    if as_json:
        amount = {"removed": cleaning, "directories": len(left), "bytes": sum(one.bytes for one in left)}
        data = {"machine": this_machine(), "tools": tool_versions(), "backends": found, "leftovers": amount}
        data["emulation"] = {"arm64": arm64 if isinstance(arm64, str) else arm64.said()}
        click.echo(json.dumps(to_jsonable_python(data), indent=2))
        return
    click.echo(f"{this_machine()}; {this_machine().system}")
    width = 2 + max(map(len, (*found, EMULATED)))
    for name, here in found.items():
        able = [word for word, yes in (("compile", here.compile), ("run", here.run)) if yes]
        click.secho(f"{name:{width}}", bold=True, nl=False)
        click.echo(f"{here.version or 'not installed':28} {' and '.join(able) or 'neither compile nor run'}")
        if here.reason:
            click.echo(f"{'':{width}}{here.reason}{'. ' + here.remedy if here.remedy else ''}")
    click.secho(f"{EMULATED:{width}}", bold=True, nl=False)
    click.echo(f"{arm64}. {emulation.remedy()}" if isinstance(arm64, str) else arm64.said())
    if left or cleaning:
        click.echo(_said(len(left), sum(one.bytes for one in left), cleaning=cleaning))


def _said(count: int, size: int, *, cleaning: bool) -> str:
    """How much killed processes left, one sentence."""
    what = f"{count} director{'y' if count == 1 else 'ies'}, {size} bytes"
    if cleaning:
        return f"Removed what killed processes had left: {what}."
    return f"Processes that were killed left {what}; `edgepress doctor --clean` removes them, and so does the next run."
