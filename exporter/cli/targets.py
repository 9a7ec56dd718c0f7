"""`edgepress targets`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import json_option

if TYPE_CHECKING:
    from ...profiles.device.target import Target


@click.command()
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the built-in targets, or show the one called NAME (or a TOML file) with the source of every figure."""
    import json

    from pydantic_core import to_jsonable_python

    from ...profiles.device.target import load_target, target_names

    targets = [load_target(n) for n in ([name] if name else target_names())]
    if as_json:
        click.echo(json.dumps(to_jsonable_python(targets[0] if name else targets), indent=2))
    elif name:
        _show(targets[0])
    else:
        _list(targets)


def _list(targets: list[Target]) -> None:
    for target in targets:
        names = f"{target.name} = {', '.join(target.aliases)}" if target.aliases else target.name
        click.echo(f"{names:31} {' '.join(target.precisions):15} {target.title}")


def _show(target: Target) -> None:
    toolchain, scheme = target.toolchain, target.scheme
    click.secho(f"{target.name}: {target.title}", bold=True)
    processor = f"{target.arch} ({target.core})" if target.core else target.arch
    click.echo(f"  backend {target.backend}, {processor}, {', '.join(target.precisions)}, ONNX opset {target.opset}")
    versions = ", ".join(f"{name} {version}" for name, version in toolchain.versions.items())
    click.echo(f"  software {toolchain.name}: {versions}\n    source: {_flat(toolchain.source)}")
    if scheme is not None:
        kind = "symmetric" if scheme.activation.symmetric else "asymmetric"
        grids = f"activations {scheme.activation.dtype} {kind}, weights {scheme.weight}"
        click.echo(f"  int8 scheme {scheme.name}: {grids}")
        click.echo(f"    residual branches: {scheme.residual}; bias {scheme.bias}\n    source: {_flat(scheme.source)}")
    sparse = ", runs 2:4 sparse weights" if target.sparse_weights else ""
    click.echo(f"  channel counts: multiples of {target.channel_multiple}{sparse}")
    for name, option in target.options.items():
        click.echo(f"  option {name} = {option}")
    figures = {**({"fastest": target.fastest} if target.fastest else {}), **target.figures}
    for name, figure in figures.items():
        click.echo(
            f"  {name}: {_plain(figure.value)} {figure.unit}".rstrip() + f"  [{figure.mark}; {_flat(figure.source)}]"
        )
    for note in target.notes:
        click.echo(f"  note: {note}")


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _flat(text: str) -> str:
    """One line of what a TOML file breaks into several."""
    return " ".join(text.split())
