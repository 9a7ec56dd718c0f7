"""`edgepress sign`."""

from __future__ import annotations

from pathlib import Path

import click

from ..bundle.signing_keys import PASSPHRASE
from .options import quiet_option
from .signing import private_key


@click.command(no_args_is_help=True)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "private",
    required=True,
    type=click.Path(path_type=Path),
    metavar="KEY",
    help=f"Private key: PEM, of the curve P-256, P-384 or P-521; its passphrase is asked for, or ${PASSPHRASE}.",
)
@quiet_option
def command(bundle: Path, private: Path, quiet: bool) -> None:
    """Sign BUNDLE: every file of it, in the OpenSSF model-signing format, offline. A signature it has is replaced.

    Hashes show damage, not forgery: who changes a file can enter its new hash. `edgepress verify --key` shows both.

    \b
    Example:
      openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing.pem
      openssl pkey -in signing.pem -pubout -out signing.pub
      edgepress sign dist/model-cpu --key signing.pem
    """  # noqa: D301
    from ..bundle.signature import sign_bundle

    key = private_key(private)
    file = sign_bundle(bundle, key)
    if not quiet:
        click.echo(f"{file} is written, by the key {key.public.fingerprint[:16]}.")
