"""The options of signatures, and the keys that they name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..bundle.signing_keys import PASSPHRASE

if TYPE_CHECKING:
    from ..bundle.signing_keys import PrivateKey, PublicKey

_FILE = click.Path(path_type=Path)

sign_option = click.option(
    "--sign",
    type=_FILE,
    metavar="KEY",
    help="Sign the bundle with this private key: PEM, of the curve P-256, P-384 or P-521. The passphrase of an "
    f"encrypted one is asked for, or ${PASSPHRASE}.",
)
key_option = click.option(
    "--key",
    "public",
    type=_FILE,
    metavar="PUB",
    help="Public key, PEM, of who must have signed the bundle; one that is not, or was changed, is code 4.",
)


def private_key(path: Path) -> PrivateKey:
    """The key that signs, its passphrase from the environment or the terminal."""
    from ..bundle.signing_keys import from_environment, load_private_key

    return load_private_key(path, lambda: from_environment() or _asked(path))


def public_key(path: Path | None) -> PublicKey | None:
    """The key that verifies, where one was given."""
    from ..bundle.signing_keys import load_public_key

    return None if path is None else load_public_key(path)


def _asked(path: Path) -> str | None:
    """What somebody types, where somebody sits at a terminal."""
    if not sys.stdin.isatty():
        return None
    said: str = click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return said
