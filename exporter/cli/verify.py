"""`edgepress verify`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import json_option, quiet_option


@click.command(no_args_is_help=True)
@click.argument("bundle", type=click.Path(path_type=Path))
@quiet_option
@json_option
def command(bundle: Path, quiet: bool, as_json: bool) -> None:
    """Check every hash of BUNDLE, then run its engine on the golden inputs and compare with the FP32 outputs."""
    from ...profiles.findings.files import json_text
    from ..bundle.verify import verify_bundle

    verdict = verify_bundle(bundle)
    if as_json:
        click.echo(json_text(verdict), nl=False)
    elif not quiet:
        where = "on its device's architecture" if verdict.on_device else "not on its device"
        click.echo(f"{bundle}: {verdict.files} files intact; golden outputs reproduced by {verdict.tool}, {where}.")
        for name, found in verdict.parity.items():
            click.echo(f"  {name}: {found}")
