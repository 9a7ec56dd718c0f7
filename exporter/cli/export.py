"""`edgepress export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import AxisOption, Decibel, TargetList, json_option, quiet_option

if TYPE_CHECKING:
    from ...backends.base import AxisRange
    from ...profiles.target import Target


@click.command(no_args_is_help=True)
@click.argument("source")
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    required=True,
    type=TargetList(),
    help="Target name, alias or TOML file; several by repeating or with commas. See `edgepress targets`.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("dist"),
    show_default=True,
    help="Directory that receives MODEL-TARGET/.",
)
@click.option("--force", is_flag=True, help="Replace bundles that exist, whole.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "int8", "fp16", "fp32"]),
    default="auto",
    show_default=True,
    help="auto: int8 where the target has it and there are calibration data, else its best float.",
)
@click.option(
    "--calibration", metavar="PATH", help="An .npz, or a directory of .npz or .npy batches, instead of calibration()."
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Node name, operator type or pattern that stays float; repeatable.",
)
@click.option(
    "--axis",
    "axes",
    multiple=True,
    type=AxisOption(),
    metavar="NAME=MIN:USUAL:MAX",
    help="Range of a free axis; repeatable. Default 1 : the example's size : 16 times that.",
)
@click.option(
    "--min-sqnr",
    "minimum_sqnr_db",
    type=Decibel(),
    metavar="DB",
    help="Least agreement with FP32 to ship; default 10 for int8.",
)
@click.option(
    "--measure/--no-measure", default=True, show_default=True, help="Measure latency where the engine runs here."
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of every runtime; default all usable cores.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the synthetic inputs.")
@click.option(
    "--trust-source", is_flag=True, help="Allow sources that can run code when loaded: .pt2 and pickled weights."
)
@quiet_option
@json_option
def command(
    source: str,
    targets: tuple[list[str], ...],
    output: Path,
    calibration: str | None,
    force: bool,
    trust_source: bool,
    quiet: bool,
    as_json: bool,
    axes: tuple[tuple[str, AxisRange], ...],
    **settings: Any,
) -> None:
    """Export SOURCE to each target: capture, compress, compile, verify, measure, bundle.

    SOURCE is a Python file or module with model() and inputs(), an .onnx file, a .pt2 program, or a Hugging Face model
    directory.

    \b
    Example:
      edgepress export model.py --target jetson
    """  # noqa: D301
    from ..progress import progress
    from ..recipe import Recipe
    from .summary import command_line, print_json, print_summary

    # Names first: a typing error must not wait for torch.
    resolved = _resolved([name for group in targets for name in group])
    recipe = Recipe(calibration=calibration, axes=dict(axes), **settings)
    with progress(quiet=quiet or as_json) as shown:
        with shown.step("load", {}):
            from ..pipeline import export_bundles
            from ..sources import load_source

            loaded = load_source(source, trust=trust_source)
        bundles = export_bundles(
            loaded,
            resolved,
            recipe,
            lambda target: output / f"{loaded.name}-{target.name}",
            shown,
            force=force,
            command=command_line(),
        )
    if as_json:
        print_json(bundles)
    elif not quiet:
        print_summary(bundles)


def _resolved(names: list[str]) -> list[Target]:
    """The targets by name, each once.

    Raises:
        InputError: two of them are different and would have one bundle.
    """
    from ...errors import InputError
    from ...profiles.target import load_target

    found: dict[str, Target] = {}
    for name in names:
        target = load_target(name)
        if found.setdefault(target.name, target) != target:
            raise InputError(
                f"Two of the targets {', '.join(names)} are called {target.name}, and their bundles would be one.",
                hint="Export them one by one, each with an --output of its own.",
            )
    return list(found.values())
