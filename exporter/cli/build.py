"""`edgepress build`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import json_option, quiet_option


@click.command(no_args_is_help=True)
@click.argument("bundle", type=click.Path(path_type=Path))
@quiet_option
@json_option
def command(bundle: Path, quiet: bool, as_json: bool) -> None:
    """Compile the engine of BUNDLE on this machine, prove and measure it, and write both into the bundle."""
    from ..bundle.build import build_bundle
    from .summary import print_json, print_summary

    built = build_bundle(bundle)
    if as_json:
        print_json([built], {})
    elif not quiet:
        print_summary([built])
