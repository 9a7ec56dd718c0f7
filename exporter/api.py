"""The same export from Python."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ..backends.base import AxisRange
from ..errors import InputError
from ..profiles.budget.budget import Budget, short_limit
from ..profiles.device.target import Target, load_target
from .bundle.manifest import Bundle
from .recipe import Recipe, TrainingSettings
from .recipe_file import overridden

if TYPE_CHECKING:
    import numpy as np
    import torch
    from typing_extensions import Unpack

    from ..backends.base import Array, Feed
    from .sources import Source

    Model = torch.nn.Module | str | Path
    Inputs = Mapping[str, torch.Tensor | np.ndarray[Any, Any]] | Sequence[torch.Tensor] | torch.Tensor


class RecipeSettings(TypedDict, total=False):
    """Settings of an export by keyword: the fields of `Recipe`, and short forms of some.

    Attributes:
        budget: limits by the names of `--budget`: `{"latency_p90": "5ms", "size": "4MB"}`. The verdicts are in the
            report; nothing is raised where one was missed.
        max_drop: short for the budget's accuracy_drop: `"1%"` of the metric, or `0.01` in its own unit.
        training_settings: how a student or a pruned model is trained.
    """

    precision: str
    statistics: str | Path | None
    all_samples: bool
    workers: int
    ranges: str
    lifts: Sequence[str] | None
    exclude: Sequence[str]
    axes: Mapping[str, AxisRange]
    minimum_sqnr_db: float | None
    budget: Mapping[str, str] | Budget
    max_drop: str | float | None
    prune: float | None
    pruned: Mapping[str, int]
    importance: str
    keep: Sequence[str]
    sparse: bool
    distill: bool
    training_settings: TrainingSettings | None
    measure: bool
    threads: int | None
    seed: int


class Options(RecipeSettings, total=False):
    """What belongs to the model, and where the bundle goes.

    Attributes:
        name: of the bundle; default the module's class name in lower case.
        dynamic: free axes by input: `{"image": {0: "batch"}}`.
        calibration: batches `{input: array}`, a function that returns them, or a path as for `--calibration`.
        evaluate: the task metric, higher is better, given a function from `{input: array}` to `{output: array}`.
        training: one pass over the training data, pairs of `{input: tensor}` and targets; a parameter called `epoch` is
            given its number.
        loss: of the module's result and a batch's targets, a scalar to minimise.
        student: makes a smaller network for the same inputs and outputs.
        checkpoint: directory of training runs, so that a killed one goes on.
        output: directory that receives `NAME-TARGET/`, `dist` by default.
        force: replace a bundle that exists.
        trust_source: allow sources that can run code when loaded.
        quiet: no progress bars, the default.
    """

    name: str | None
    dynamic: Mapping[str, Mapping[int, str]] | None
    calibration: Callable[[], Iterable[Feed]] | Sequence[Feed] | str | Path | None
    evaluate: Callable[[Callable[[Feed], dict[str, Array]]], float] | None
    training: Callable[..., Iterable[tuple[Mapping[str, torch.Tensor], Any]]] | None
    loss: Callable[[Any, Any], torch.Tensor] | None
    student: Callable[[], torch.nn.Module] | None
    checkpoint: str | Path | None
    output: str | Path
    force: bool
    trust_source: bool
    quiet: bool


def export(
    model: Model,
    inputs: Inputs | None = None,
    *,
    target: str | Target,
    recipe: Recipe | None = None,
    **options: Unpack[Options],
) -> Bundle:
    """Export a model to a target: capture, compress, compile, verify, measure, bundle.

    Args:
        model: a torch module with its trained weights, or what `edgepress export` takes as SOURCE.
        inputs: one example batch by name of forward's arguments (a tensor or a tuple takes their names); batch >= 2
            where the batch is to stay free. Required with a module, not allowed with a SOURCE, which brings its own.
        target: a target's name, alias or TOML file, or a `Target`.
        recipe: the settings, as `--recipe` has them; `edgepress.load_recipe` reads a file.
        options: of `Options`, and any field of `Recipe` by its name, on top of `recipe`.

    Returns:
        The finished bundle: `bundle.path`, `bundle.manifest`, `bundle.report`.

    Raises:
        InputError: the model, the data or a setting is at fault.
        VerificationError: the capture or the engine does not agree with the model.
        UnservedError: the target cannot be served on this machine.
    """
    (bundle,) = export_all(model, inputs, targets=(target,), recipe=recipe, **options)
    return bundle


def export_all(
    model: Model,
    inputs: Inputs | None = None,
    *,
    targets: Sequence[str | Target],
    recipe: Recipe | None = None,
    **options: Unpack[Options],
) -> tuple[Bundle, ...]:
    """Export a model to several targets, which share what they can; otherwise as `export`."""
    from .pipeline import export_bundles
    from .progress import progress

    given: dict[str, Any] = dict(options)
    where = {name: given.pop(name, default) for name, default in _WHERE.items()}
    parts = {name: given.pop(name, None) for name in _PARTS}
    if isinstance(parts["calibration"], str | Path):
        given["calibration"] = str(parts.pop("calibration"))
    source = _source(model, inputs, trust=where["trust_source"], **parts)
    resolved = [target if isinstance(target, Target) else load_target(target) for target in targets]
    names = ", ".join(repr(target.name) for target in resolved)
    checkpoint = where["checkpoint"]
    with progress(quiet=where["quiet"]) as shown:
        bundles = export_bundles(
            source,
            resolved,
            recipe_of(recipe, given),
            lambda target: Path(where["output"]) / f"{source.name}-{target.name}",
            shown,
            force=where["force"],
            command=f"edgepress.export({source.name!r}, target={names}) from Python {sys.version_info[0]}",
            checkpoint=None if checkpoint is None else Path(checkpoint),
        )
    return tuple(bundles)


# Options that say where and how, with their defaults; and those that are parts of the model.
_WHERE: Mapping[str, Any] = {
    "output": "dist",
    "force": False,
    "trust_source": False,
    "quiet": True,
    "checkpoint": None,
}
_PARTS = ("name", "dynamic", "calibration", "evaluate", "training", "loss", "student")


def recipe_of(recipe: Recipe | None, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with settings by name on top.

    Raises:
        InputError: an unknown name (the nearest is given), or a contradiction.
    """
    base = recipe or Recipe()
    known = {field.name for field in fields(Recipe)} | {*_WHERE, *_PARTS} | {"max_drop", "training_settings"}
    if unknown := [name for name in settings if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, 1, cutoff=0.4)
        listed = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(known))}."
        raise InputError(f"Unknown setting {unknown[0]!r}.", hint=listed)
    given = {name: _frozen(value) for name, value in settings.items() if name in {f.name for f in fields(Recipe)}}
    if settings.get("training_settings") is not None:
        given["training"] = settings["training_settings"]
    given["budget"] = base.budget.under(_budget(settings.get("budget") or {}, settings.get("max_drop")))
    return overridden(base, given)


def _frozen(value: Any) -> Any:
    """A setting as a recipe has it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str | Mapping):
        return value
    return tuple(value) if isinstance(value, Sequence) else value


def _budget(budget: Mapping[str, str] | Budget, max_drop: str | float | None) -> Budget:
    limits = budget if isinstance(budget, Budget) else Budget.parse(budget)
    if max_drop is None:
        return limits
    if limits.drop is not None:
        raise InputError("`max_drop` and the budget's `accuracy_drop` were both given; they are the same.")
    return limits.under(Budget.parse(short_limit("accuracy_drop", str(max_drop))))


def _source(
    model: Model,
    inputs: Inputs | None,
    *,
    trust: bool,
    name: str | None,
    dynamic: Mapping[str, Mapping[int, str]] | None,
    calibration: Any = None,
    training: Any,
    **parts: Any,
) -> Source:
    """The model with the parts that were given apart from it."""
    from ..calibration.feeds import feeds_from_object
    from .sources import load_source, source_from_object
    from .sources.base import numbered

    feeds = None if calibration is None else feeds_from_object(calibration)
    if isinstance(model, str | Path):
        if inputs is not None or dynamic is not None or name is not None:
            raise InputError("`inputs`, `dynamic` and `name` go with a module; a source file brings its own.")
        given = {part: value for part, value in parts.items() if value is not None}
        given |= {} if training is None else {"training": numbered(training)}
        given |= {} if feeds is None else {"calibration": feeds}
        return replace(load_source(str(model), trust=trust), **given)
    if inputs is None:
        raise InputError("A module needs `inputs`: one example batch by name of forward's arguments.")
    return source_from_object(
        model,
        inputs,
        name=name or type(model).__name__.lower(),
        dynamic={tensor: dict(free) for tensor, free in (dynamic or {}).items()},
        calibration=feeds,
        training=training,
        **parts,
    )
