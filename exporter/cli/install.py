"""`edgepress install`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .option_types import Steady
from .options import json_option, quiet_option
from .signing import key_option, public_key
from .verify import SIGNED

if TYPE_CHECKING:
    from ..delivery.install import Installed

_BUILT = " That was before the engine was built here; the built bundle is not signed."


@click.command(no_args_is_help=True)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--to",
    "directory",
    required=True,
    type=Steady(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory of this model on this device: DIR/current leads to the version in use.",
)
@click.option("--variant", "only", metavar="NAME", help="Look at this bundle of FILE alone.")
@click.option("--keep", type=click.IntRange(2, 1000), default=3, show_default=True, help="Versions that stay in DIR.")
@click.option("--back", is_flag=True, help="Go back to the version before the current one.")
@click.option("--list", "listing", is_flag=True, help="Say which versions are there.")
@key_option
@click.option(
    "--require-signature", is_flag=True, help="Refuse to install by hashes alone: without --key it is code 2."
)
@quiet_option
@json_option
def command(
    file: Path | None,
    directory: Path,
    only: str | None,
    keep: int,
    back: bool,
    listing: bool,
    public: Path | None,
    require_signature: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Take the bundle of FILE that fits this machine, prove it here, and let DIR/current lead to it in one step.

    It fits by architecture, runtime and version of the runtime. An engine that only the device can build is built. What
    does not reproduce its golden outputs here is not taken. A program that has the old version open goes on with it.
    """
    from ..delivery.install import go_back, install_package

    if (file is not None) + back + listing != 1:
        raise click.UsageError("Give one of FILE, --back and --list.")
    if file is None and (public is not None or require_signature or only is not None):
        raise click.UsageError("--key, --require-signature and --variant go with FILE: what is in DIR was judged.")
    if require_signature and public is None:
        raise click.UsageError("--require-signature needs --key PUB: a signature is only worth who made it.")
    if listing:
        _list(directory, as_json)
    elif file is None:
        _print(go_back(directory), None, quiet, as_json)
    else:
        _print(install_package(file, directory, key=public_key(public), only=only, keep=keep), public, quiet, as_json)


def _print(done: Installed, public: Path | None, quiet: bool, as_json: bool) -> None:
    from ...profiles.findings.files import json_text

    if as_json:
        click.echo(json_text(_fields(done)), nl=False)
    elif not quiet:
        for name, why in done.passed.items():
            click.echo(f"{name} was passed over: {why}")
        if done.proof is None:
            click.echo(f"{done.variant} is installed already, as version {done.version.number}.")
            return
        how = "built and proven" if done.built else "proven"
        named = f"{done.variant} is" if done.variant else "Back:"
        click.echo(f"{named} version {done.version.number}, in use now; {how} here by {done.proof.tool}.")
        if done.variant:
            signed = "the key" if public is not None else done.proof.signed
            click.echo(SIGNED[signed].format(key=public) + (_BUILT if done.built and public else ""))


def _fields(done: Installed) -> dict[str, object]:
    return {
        "version": done.version.number,
        "path": f"versions/{done.version.path.name}",
        "variant": done.variant,
        "new": done.proof is not None,
        "built": done.built,
        "passed": dict(done.passed),
        "proof": done.proof,
    }


def _list(directory: Path, as_json: bool) -> None:
    from ...profiles.findings.files import json_text
    from ..delivery.install import installed_versions

    found = list(installed_versions(directory))
    if as_json:
        rows = [
            {
                "version": version.number,
                "path": f"versions/{version.path.name}",
                "model": manifest.model.name,
                "target": manifest.target.name,
                "precision": manifest.engine.precision,
                "current": current,
            }
            for version, manifest, current in found
        ]
        click.echo(json_text(rows), nl=False)
        return
    for version, manifest, current in found:
        what = f"{manifest.model.name} for {manifest.target.name}, {manifest.engine.precision}"
        click.echo(f"{'*' if current else ' '} {version.number:4}  {what}, of {manifest.measured.date}")
