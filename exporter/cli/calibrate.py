"""`edgepress calibrate` and `edgepress calibrate merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...profiles.machine.given import as_typed
from .option_types import Steady
from .options import asked, calibration_options, quiet_option, recipe_option, source_options

OUTPUT = click.option("-o", "--output", required=True, type=Steady(dir_okay=False), help="Statistics file to write.")


class SourceOrMerge(click.Group):
    """A group in which everything but `merge` is a SOURCE to calibrate."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """`merge` is a command; anything else is the first argument of `collect`."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "collect", collect, args

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let options that precede SOURCE reach `collect` too."""
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["collect", *args]
        return super().parse_args(ctx, args)


@click.group(cls=SourceOrMerge, no_args_is_help=True, subcommand_metavar="SOURCE ... | merge FILE ...")
def command() -> None:
    """Collect calibration statistics of a model: `edgepress calibrate SOURCE --target NAME -o FILE`.

    The file holds counts, extremes and sums, never a sample. Files of several machines merge exactly, and
    `edgepress export --statistics FILE` uses them instead of data.
    """


@command.command()
@click.argument("source")
@click.option("-t", "--target", required=True, metavar="NAME", help="The target whose int8 this is for.")
@OUTPUT
@calibration_options
@source_options
@recipe_option
@quiet_option
def collect(
    source: str,
    target: str,
    output: Path,
    trust_source: bool,
    quiet: bool,
    **_settings: Any,
) -> None:
    """Collect the statistics of SOURCE on its calibration data."""
    from ...profiles.device.target import load_target
    from ..progress import counted, progress
    from .host import load, require_host

    resolved, recipe = load_target(target), asked()
    require_host()
    with progress(quiet=quiet) as shown, shown.step(f"calibrate {source}", {}) as advance:
        model = load(source, trust=trust_source)
        from ...calibration.storage import save_statistics
        from ..capture.example import with_example
        from ..pipeline import axis_ranges
        from ..quantization.gather import calibrate
        from ..sources.data import show_pictures
        from ..training.data import input_specs

        loaded = with_example(model, recipe, resolved)
        show_pictures(recipe, input_specs(loaded), loaded.inputs)
        statistics = calibrate(loaded, resolved, recipe, axis_ranges(loaded, recipe), counted(advance))
        save_statistics(statistics, output)
    if not quiet:
        settled = " (the ranges had settled)" if statistics.converged else ""
        click.echo(f"{as_typed(output)}: {statistics.samples} samples{settled}, {len(statistics.tensors)} tensors.")


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@OUTPUT
def merge(files: tuple[Path, ...], output: Path) -> None:
    """Merge statistics FILES of the same model and target; the order does not matter."""
    from ...calibration.storage import load_statistics, save_statistics
    from ...errors import InputError

    first, *others = (load_statistics(file) for file in files)
    if len({found.data for found in (first, *others)}) <= len(others):
        raise InputError("Two of these files were collected on the same data, which would count twice.")
    for other in others:
        first = first.merge(other)
    save_statistics(first, output)
    click.echo(f"{as_typed(output)}: {first.samples} samples from {len(files)} files, {len(first.tensors)} tensors.")
