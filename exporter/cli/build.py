"""`edgepress build`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import json_option, on_option, quiet_option
from .signing import key_option, private_key, public_key, sign_option


@click.command(no_args_is_help=True)
@click.argument("bundle", type=click.Path(path_type=Path))
@key_option
@sign_option
@on_option
@quiet_option
@json_option
def command(bundle: Path, public: Path | None, sign: Path | None, on: str | None, quiet: bool, as_json: bool) -> None:
    """Compile the engine of BUNDLE here or on a device, prove and measure it, and write both into the bundle.

    A signature covers the bundle as it was, so the built one has none, unless --sign makes one.
    """
    from ..bundle.build import build_bundle
    from ..bundle.manifest import SIGNATURE
    from .summary import print_json, print_summary

    was_signed = (bundle / SIGNATURE).exists()
    built = build_bundle(bundle, public_key(public), None if sign is None else private_key(sign), on)
    if was_signed and sign is None:
        click.echo(f"{bundle} was signed as it was exported; as it was built it is not: edgepress sign.", err=True)
    if as_json:
        print_json([built], {})
    elif not quiet:
        print_summary([built])
