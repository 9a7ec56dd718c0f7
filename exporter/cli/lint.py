"""`edgepress lint`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .option_types import AxisOption, TargetList
from .options import json_option, on_option, quiet_option

if TYPE_CHECKING:
    from ...backends.base import AxisRange
    from ...profiles.device.target import Target


@click.command(no_args_is_help=True)
@click.argument("subject", metavar="ONNX|BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    type=TargetList(),
    help="Target name, alias or TOML file, with @TOOLCHAIN for other software; several by repeating or with commas. A "
    "bundle has its own.",
)
@click.option(
    "--axis",
    "axes",
    multiple=True,
    type=AxisOption(),
    metavar="NAME=MIN:USUAL:MAX",
    help="Range of a free axis; repeatable.",
)
@on_option
@quiet_option
@json_option
def command(
    subject: Path,
    targets: tuple[list[str], ...],
    axes: tuple[Any, ...],
    on: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Hold a graph against its target: what will fail or be wrong there (code 1), and what will be slow or float.

    Each finding names the node, the rule, what to do, and the source of the rule. A parser is asked as well: the
    target's own where it is installed, or on the device with --on, else one that stands in for it. Nothing is compiled
    or written here.

    \b
    Example:
      edgepress lint model.onnx --target jetson@jetpack-5.1,cpu
    """  # noqa: D301
    import json

    from ...errors import InputError
    from ..lint.run import lint
    from ..lint.show import failed, report_data, report_lines

    path, asked, ranges = _asked(subject, [name for names in targets for name in names], dict(axes))
    reports = [lint(path, target, ranges, on) for target in asked]
    if as_json:
        click.echo(json.dumps([report_data(report) for report in reports], indent=2))
    elif not quiet:
        for report in reports:
            click.echo("\n".join(report_lines(report)))
    if said := failed(reports):
        raise InputError(said, hint="Each error above says what to do." if not quiet and not as_json else None)


def _asked(
    subject: Path, names: list[str], axes: dict[str, AxisRange]
) -> tuple[Path, list[Target], dict[str, AxisRange]]:
    """The file, the targets and the ranges: a bundle's own where they are not given."""
    from ...errors import InputError
    from ...profiles.device.target import load_target
    from ..bundle.manifest import MANIFEST, load_bundle

    given = [load_target(name) for name in names]
    if subject.name != MANIFEST and not subject.is_dir():
        if not given:
            lacks = "comes without a target, as it is no bundle" if subject.exists() else "does not exist"
            raise InputError(f"{subject} {lacks}.", hint="Give an .onnx file with --target jetson, or a bundle.")
        return subject, given, axes
    bundle = load_bundle(subject.parent if subject.name == MANIFEST else subject)
    manifest = bundle.manifest
    if manifest.language is not None and not bundle.graph.path.exists():
        raise InputError(
            f"{subject} writes text: its graph is made of the runtime's own operators, which no rule is about.",
            hint="edgepress verify runs it.",
        )
    return bundle.graph.path, given or [manifest.target], {**manifest.model.axes, **axes}
