"""`edgepress pack`."""

from __future__ import annotations

from pathlib import Path

import click

from .option_types import Steady
from .options import quiet_option


@click.command(no_args_is_help=True)
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=Steady(dir_okay=False, path_type=Path),
    default="model.edgepress",
    show_default=True,
    help="File to write.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@quiet_option
def command(bundles: tuple[Path, ...], output: Path, force: bool, quiet: bool) -> None:
    """Put several bundles of one model into one file, from which each device takes the one that fits it.

    `edgepress install` takes the first that fits, so give the better one first where a device could take two. Files
    that bundles share are stored once. Signatures go along; sign before.
    """
    from ...profiles.machine.given import as_typed
    from ..bundle.manifest import SIGNATURE
    from ..delivery.pack import pack_bundles

    index = pack_bundles(bundles, output, force=force)
    if quiet:
        return
    size, apart = output.stat().st_size, sum(variant.size for variant in index.variants)
    click.echo(f"{as_typed(output)}: {index.model}, {size / 1e6:.1f} MB; its bundles apart {apart / 1e6:.1f} MB.")
    for variant in index.variants:
        signed = "signed" if SIGNATURE in variant.files else "not signed"
        click.echo(f"  {variant.name}: {len(variant.files)} files, {variant.size / 1e6:.1f} MB, {signed}")
