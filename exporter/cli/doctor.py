"""`edgepress doctor`."""

from __future__ import annotations

import click

from .options import json_option


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Say, for each backend, whether this machine can compile and run with it, and what to do where it cannot."""
    import json

    from pydantic_core import to_jsonable_python

    from ...backends.registry import backend_names, load_backend, tool_versions
    from ...profiles.machine.environment import this_machine

    found = {name: load_backend(name).available() for name in backend_names()}
    if as_json:
        data = {"machine": this_machine(), "tools": tool_versions(), "backends": found}
        click.echo(json.dumps(to_jsonable_python(data), indent=2))
        return
    click.echo(f"{this_machine()}; {this_machine().system}")
    for name, here in found.items():
        able = [word for word, yes in (("compile", here.compile), ("run", here.run)) if yes]
        click.secho(f"{name:14}", bold=True, nl=False)
        click.echo(f"{here.version or 'not installed':28} {' and '.join(able) or 'neither compile nor run'}")
        if here.reason:
            click.echo(f"{'':14}{here.reason}{'. ' + here.remedy if here.remedy else ''}")
