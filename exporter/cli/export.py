"""`edgepress export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...profiles.machine.given import as_typed
from .gate_options import asked_gate, gate_options
from .names import LIFTS, PRECISIONS, RUNGS
from .option_types import SEED, THREADS, Decibel, Steady, TargetList
from .options import (
    asked,
    calibration_options,
    emulate_option,
    json_option,
    on_option,
    pruning_options,
    quiet_option,
    recipe_options,
    source_options,
    training_options,
    weight_options,
)
from .signing import private_key, sign_option

if TYPE_CHECKING:
    from ...profiles.device.target import Target
    from ..bundle.manifest import Bundle
    from ..bundle.signing_keys import PrivateKey
    from ..gate.run import Gate
    from ..progress import Progress
    from ..recipe import Recipe
    from ..sources import DecoderSource, Source


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
    type=Steady(file_okay=False),
    default=Path("dist"),
    show_default=True,
    help="Directory that receives MODEL-TARGET/.",
)
@click.option("--force", is_flag=True, help="Replace bundles that exist, whole.")
@click.option(
    "--if-changed",
    is_flag=True,
    help="Keep a bundle that the same model, data, settings, tools and machine made; replace one that they did not.",
)
@click.option(
    "--depends",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="For --if-changed: a file or directory that the model's code reads, such as its data; repeatable.",
)
@recipe_options
@gate_options
@click.option(
    "--precision",
    type=PRECISIONS,
    default="auto",
    show_default=True,
    help="One of the target's. auto: the fastest that keeps the accuracy, int8 among them where there are "
    "calibration data.",
)
@calibration_options
@click.option("--statistics", metavar="FILE", help="Statistics of `edgepress calibrate`, instead of calibration data.")
@click.option(
    "--lift",
    "lifts",
    multiple=True,
    type=LIFTS,
    help="Accuracy lift to apply in any case; repeatable. Default: those that help on this model.",
)
@click.option("--no-lifts", is_flag=True, help="Apply no accuracy lift.")
@click.option(
    "--rung",
    "rungs",
    multiple=True,
    type=RUNGS,
    help="What int8 may climb to where it misses --max-drop or --min-sqnr; repeatable. Default: all, the least costly "
    "first.",
)
@click.option("--no-rungs", is_flag=True, help="Do no more for int8 than calibrate it.")
@click.option("--qat", is_flag=True, help="Train int8 itself on training(), whatever else would do.")
@click.option(
    "--min-sqnr",
    "minimum_sqnr_db",
    type=Decibel(),
    metavar="DB",
    help="Least SQNR against FP32 to ship; default 10 for int8, on calibration samples.",
)
@pruning_options
@training_options
@weight_options
@click.option(
    "--measure/--no-measure", default=True, show_default=True, help="Measure latency where the engine runs here."
)
@on_option
@emulate_option
@click.option("--threads", type=THREADS, help="Threads of every runtime; default all usable cores.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the synthetic inputs and of training.")
@source_options
@sign_option
@quiet_option
@json_option
def command(
    source: str,
    targets: tuple[list[str], ...],
    output: Path,
    force: bool,
    trust_source: bool,
    quiet: bool,
    as_json: bool,
    checkpoint: Path | None,
    if_changed: bool,
    depends: tuple[Path, ...],
    sign: Path | None,
    on: str | None,
    **_settings: Any,
) -> None:
    """Export SOURCE to each target: capture, compress, compile, verify, measure, bundle.

    SOURCE is a Python file or module with model() and inputs(), an .onnx file, a .pt2 program, a Hugging Face model
    directory, or a .gguf file. A model that writes text becomes a bundle that generates.

    \b
    Example:
      edgepress export model.py --target jetson
    """  # noqa: D301
    from ...errors import InputError
    from ..api import resolve
    from ..progress import progress
    from .host import load_any, require_host
    from .summary import summarized

    if depends and not if_changed:
        raise InputError("--depends goes with --if-changed.", hint="Add --if-changed, or leave out --depends.")

    # Names first: a typing error must not wait for torch.
    resolved = resolve([name for group in targets for name in group])
    key = None if sign is None else private_key(sign)
    recipe = asked()
    gate = _gate(resolved, recipe)
    with gate.watched():
        require_host()
        with progress(quiet=quiet or as_json) as shown:
            with shown.step("load", {}):
                loaded = load_any(source, trust=trust_source)
                from .. import pipeline  # noqa: F401  (here, where its time is told)
            work = _Work(loaded, recipe, output, gate, depends if if_changed else None, key, on)
            with summarized([target.name for target in resolved], gate.made, as_json=as_json, quiet=quiet):
                work.export(resolved, shown, force=force or if_changed, checkpoint=checkpoint)


def _gate(targets: list[Target], recipe: Recipe) -> Gate:
    """What the bundles are held to: the limits of the recipe too."""
    gate = asked_gate({target.name: target.name for target in targets}, measure=recipe.measure)
    gate.limits = {**recipe.budget.limits, **gate.limits}
    gate.failed = "The budget was missed; the bundle was written all the same."
    return gate


class _Work:
    """Which bundles are made, where they go, and which of them are there already."""

    def __init__(
        self,
        source: Source | DecoderSource,
        recipe: Recipe,
        output: Path,
        gate: Gate,
        depends: tuple[Path, ...] | None,
        sign: PrivateKey | None,
        on: str | None,
    ) -> None:
        self._source, self._recipe, self._output, self._gate, self._depends = source, recipe, output, gate, depends
        self._on, self._sign = on, sign
        self._keys: dict[str, str] = {}

    def export(self, targets: list[Target], shown: Progress, *, force: bool, checkpoint: Path | None) -> None:
        from ..pipeline import export_bundles
        from .summary import command_line

        export_bundles(
            self._source,
            self.changed(targets),
            self._recipe,
            self.destination,
            shown,
            force=force,
            command=command_line(),
            checkpoint=checkpoint,
            made=self.made,
            sign=self._sign,
            on=self._on,
        )

    def destination(self, target: Target) -> Path:
        return self._output / f"{self._source.name}-{target.name}"

    def changed(self, targets: list[Target]) -> list[Target]:
        """The targets to export; the gate is told of the others' bundles."""
        if self._gate.baselines is not None:
            self._gate.baselines.check({target.name: self.destination(target) for target in targets})
        if self._depends is None:
            return targets
        from ..bundle.key import bundle_key, kept

        public = None if self._sign is None else self._sign.public
        for target in targets:
            key = self._keys[target.name] = bundle_key(self._source, target, self._recipe, self._depends, self._on)
            if (bundle := kept(self.destination(target), key, public)) is not None:
                self._gate.made[target.name] = bundle
                click.echo(f"{as_typed(bundle.path)} is unchanged.", err=True)
        return [target for target in targets if target.name not in self._gate.made]

    def made(self, target: Target, bundle: Bundle) -> None:
        """Told by the pipeline."""
        self._gate.made[target.name] = bundle
        if target.name in self._keys:
            from ..bundle.key import note

            note(bundle, self._keys[target.name])
