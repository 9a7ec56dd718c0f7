"""`edgepress verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import emulate_option, json_option, on_option, quiet_option
from .signing import key_option, public_key

if TYPE_CHECKING:
    from ..bundle.text_golden import TextBounds

# What a signature says beside the hashes, which alone show damage, not forgery.
SIGNED = {
    "the key": "Signed by {key}: no file was changed, added or removed since.",
    "unchecked": "It is signed, which was not checked: give --key. Hashes alone show damage, not forgery.",
    "nobody": "It is not signed: hashes alone show damage, not forgery.",
}

UNROUNDED = (
    "  float16 was computed wider here than on the device, and not rounded as the export did: that takes "
    "edgepress[host]. On the device it may have less."
)


@click.command(no_args_is_help=True)
@click.argument("bundle", type=click.Path(path_type=Path))
@key_option
@click.option("--require-signature", is_flag=True, help="Refuse to verify by hashes alone: without --key it is code 2.")
@on_option
@emulate_option
@quiet_option
@json_option
def command(
    bundle: Path, public: Path | None, require_signature: bool, on: str | None, quiet: bool, as_json: bool
) -> None:
    """Check the signature and every hash of BUNDLE, then run its engine on the golden inputs.

    Its outputs are compared with those of the FP32 model. Hashes show damage, not forgery: who changes a file can enter
    its new hash. With --key, BUNDLE must be as the owner of that key signed it.
    """
    from ...profiles.findings.files import json_text
    from ..bundle.verify import verify_bundle

    if require_signature and public is None:
        raise click.UsageError("--require-signature needs --key PUB: a signature is only worth who made it.")
    verdict = verify_bundle(bundle, public_key(public), on)
    if as_json:
        click.echo(json_text(verdict), nl=False)
    elif not quiet:
        where = "on its device's architecture" if verdict.on_device else "not on its device"
        click.echo(f"{bundle}: {verdict.files} files intact; golden outputs reproduced by {verdict.tool}, {where}.")
        click.echo(SIGNED[verdict.signed].format(key=public))
        for name, found in verdict.parity.items():
            click.echo(f"  {name}: {found}")
        if verdict.text is not None and verdict.most_text is not None:
            _print_text(verdict.text, verdict.most_text)
            return
        graph = "" if verdict.least_graph_db is None else f", {verdict.least_graph_db:g} dB against its own graph"
        if verdict.unrounded:
            click.echo(UNROUNDED)
        click.echo(f"  needed: {verdict.least_db:g} dB of SQNR against FP32{graph}")


def _print_text(found: TextBounds, most: TextBounds) -> None:
    click.echo(f"  from FP32: {found.fp32:.4f} nats a token; allowed: {most.fp32:.4f}")
    click.echo(f"  from the engine as it was proven: {found.own:.5f} nats a token; allowed: {most.own:.5f}")
