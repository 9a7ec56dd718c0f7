"""The same export from Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ..backends.base import AxisRange
from ..errors import InputError
from ..profiles.budget.budget import Budget, short_limit
from ..profiles.device.target import Target, load_target
from ..profiles.machine.given import steady
from ..profiles.reading.near import did_you_mean
from .bundle.manifest import Bundle
from .recipe import PreprocessSettings, Recipe, TrainingSettings, WeightSettings
from .recipe_file import EXCLUSIVE, overridden

if TYPE_CHECKING:
    import numpy as np
    import torch
    from typing_extensions import Unpack

    from ..backends.base import Array, Feed
    from .bundle.signing_keys import PrivateKey
    from .sources import DecoderSource, Source

    Model = torch.nn.Module | str | Path
    Inputs = Mapping[str, torch.Tensor | np.ndarray[Any, Any]] | Sequence[torch.Tensor] | torch.Tensor


class RecipeSettings(TypedDict, total=False):
    """Settings of an export by keyword: the fields of `Recipe`, and short forms of some.

    Attributes:
        budget: limits by the names of `--budget`: `{"latency_p90": "5ms", "size": "4MB"}`. The verdicts are in the
            report; nothing is raised where one was missed.
        max_drop: short for the budget's accuracy_drop: `"1%"` of the metric, or `0.01` in its own unit.
        max_latency, max_size: short for its latency_p50 (or another percentile, `"p90=5ms"`) and size.
        training_settings: how a student or a pruned model is trained.
        weight_settings: how the weights of a decoder are rounded.
        preprocess_settings: what turns images in bytes into the network's input, where no `preprocess` is given.
    """

    precision: str
    fit: Literal["stretch", "letterbox", "crop"] | None
    contact_sheet: str | Path | None
    statistics: str | Path | None
    all_samples: bool
    workers: int
    ranges: str
    lifts: Sequence[str] | None
    rungs: Sequence[str] | None
    qat: bool
    exclude: Sequence[str]
    axes: Mapping[str, AxisRange] | None
    minimum_sqnr_db: float | None
    budget: Mapping[str, str] | Budget | None
    max_drop: str | float | None
    max_latency: str | None
    max_size: str | None
    prune: float | None
    pruned: Mapping[str, int]
    importance: str
    keep: Sequence[str]
    sparse: bool
    distill: bool
    training_settings: TrainingSettings | None
    weight_settings: WeightSettings | None
    preprocess_settings: PreprocessSettings | None
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
        preprocess: torch function or module that becomes part of the model in front of it; `inputs` are what it takes.
        postprocess: likewise behind it; it takes the model's output tensors by position.
        checkpoint: directory of training runs, so that a killed one goes on.
        output: directory that receives `NAME-TARGET/`, `dist` by default.
        force: replace a bundle that exists.
        sign: of `edgepress.load_private_key`; signs each bundle.
        on: address of the place where engines are judged and measured, as `--on` takes it.
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
    preprocess: Callable[..., Any] | None
    postprocess: Callable[..., Any] | None
    checkpoint: str | Path | None
    output: str | Path
    force: bool
    sign: PrivateKey | None
    on: str | None
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
    """Export a model to several targets, which share what they can; otherwise as `export`.

    Returns:
        A bundle for each target, in their order.

    Raises:
        TargetsError: some targets failed and the others were made; `error.errors` and `error.made` say which. What
            concerns all of them, and the error of an only target, is raised as by `export`.
    """
    from .pipeline import export_bundles
    from .progress import progress

    given: dict[str, Any] = dict(options)
    where = {name: given.pop(name, default) for name, default in _WHERE.items()}
    parts = {name: given.pop(name, None) for name in _PARTS}
    output, checkpoint = steady(Path(where["output"])), where["checkpoint"]
    checkpoint = None if checkpoint is None else steady(Path(checkpoint))
    asked = recipe_of(recipe, {**given, **_of_calibration(parts["calibration"], given)})
    resolved = resolve(targets)
    source = _source(model, inputs, trust=where["trust_source"], **parts)
    names = ", ".join(repr(target.name) for target in resolved)
    with progress(quiet=where["quiet"]) as shown:
        bundles = export_bundles(
            source,
            resolved,
            asked,
            lambda target: output / f"{source.name}-{target.name}",
            shown,
            force=where["force"],
            command=f"edgepress.export({source.name!r}, target={names}) from Python {sys.version_info[0]}",
            checkpoint=checkpoint,
            sign=where["sign"],
            on=where["on"],
        )
    made = {bundle.manifest.target.name: bundle for bundle in bundles}
    return tuple(made[_target(target).name] for target in targets)


def resolve(names: Sequence[str | Target]) -> list[Target]:
    """The targets of these names, each once.

    Raises:
        InputError: an unknown name, none at all, or two different targets that would have one bundle.
    """
    found: dict[str, Target] = {}
    for target in map(_target, names):
        if found.setdefault(target.name, target) != target:
            told = ", ".join(name if isinstance(name, str) else name.name for name in names)
            raise InputError(
                f"Two of the targets {told} are called {target.name}, and their bundles would be one.",
                hint="Export them one by one, each with an --output of its own.",
            )
    if not found:
        raise InputError("No target was given.", hint="`edgepress targets` lists them.")
    return list(found.values())


def _target(name: str | Target) -> Target:
    return name if isinstance(name, Target) else load_target(name)


def _of_calibration(calibration: object, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What calibration data say in the recipe: a path is named there, and data are stronger than its own.

    Raises:
        InputError: statistics were given as well.
    """
    if calibration is None:
        return {}
    if settings.get("statistics") is not None:
        raise InputError("`calibration` and `statistics` were both given; int8 is made from one of them.")
    path = str(calibration) if isinstance(calibration, str | Path) else None
    return {**dict.fromkeys(EXCLUSIVE), "calibration": path}


# Options that say where and how, with their defaults.
_WHERE: Mapping[str, Any] = {
    "output": "dist",
    "force": False,
    "trust_source": False,
    "quiet": True,
    "checkpoint": None,
    "sign": None,
    "on": None,
}
# Those that are parts of the model.
_PARTS = ("name", "dynamic", "calibration", "evaluate", "training", "loss", "student", "preprocess", "postprocess")
# Groups of settings, by the field of the recipe that each is.
_GROUPS = {"training_settings": "training", "weight_settings": "weights", "preprocess_settings": "preprocess"}
# Short forms of limits, by the figure that each bounds.
_SHORT = {"max_drop": "accuracy_drop", "max_latency": "latency", "max_size": "size"}


def recipe_of(recipe: Recipe | None, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with settings by name on top.

    Raises:
        InputError: an unknown name (the nearest is given), or a contradiction.
    """
    base = recipe or Recipe()
    known = {field.name for field in fields(Recipe)} | {*_WHERE, *_PARTS} | {*_SHORT, *_GROUPS}
    if unknown := [name for name in settings if name not in known]:
        raise InputError(f"Unknown setting {unknown[0]!r}.", hint=did_you_mean(unknown[0], sorted(known), 1))
    given = {name: _frozen(value) for name, value in settings.items() if name in {f.name for f in fields(Recipe)}}
    given |= {of: settings[word] for word, of in _GROUPS.items() if settings.get(word) is not None}
    given["budget"] = _budget(settings)
    if "axes" in given:
        given["axes"] = dict(given["axes"] or {})
    return overridden(base, given)


def _frozen(value: Any) -> Any:
    """A setting as a recipe has it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str | Mapping):
        return value
    return tuple(value) if isinstance(value, Sequence) else value


def _budget(settings: Mapping[str, Any]) -> Budget:
    """The limits of `budget` and of the short forms, which may not bound the same figure."""
    named = settings.get("budget") or {}
    budget = named if isinstance(named, Budget) else Budget.parse(named)
    for word, figure in _SHORT.items():
        if settings.get(word) is None:
            continue
        short = Budget.parse(short_limit(figure, str(settings[word])))
        if twice := short.limits.keys() & budget.limits.keys():
            raise InputError(f"`{word}` and the budget's `{twice.pop()}` were both given; they are the same.")
        budget = budget.under(short)
    return budget


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
) -> Source | DecoderSource:
    """The model with the parts that were given apart from it."""
    from ..calibration.feeds import feeds_from_object
    from .sources import load_model, source_from_object
    from .sources.base import numbered

    feeds = None if calibration is None or isinstance(calibration, str | Path) else feeds_from_object(calibration)
    if isinstance(model, str | Path):
        if any(part is not None for part in (inputs, dynamic, name, parts.get("preprocess"), parts.get("postprocess"))):
            raise InputError(
                "`inputs`, `dynamic`, `name`, `preprocess` and `postprocess` go with a module; a source file brings "
                "its own."
            )
        given = {part: value for part, value in parts.items() if value is not None}
        given |= {} if training is None else {"training": numbered(training)}
        given |= {} if feeds is None else {"calibration": feeds}
        return _replaced(load_model(str(model), trust=trust), model, given)
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


def _replaced(found: Source | DecoderSource, model: str | Path, given: Mapping[str, Any]) -> Source | DecoderSource:
    """What was loaded, with the parts that were given instead of its own."""
    from .sources import DecoderSource

    if isinstance(found, DecoderSource) and (unused := [name for name in given if name != "evaluate"]):
        raise InputError(
            f"{model} is a model that writes text; {', '.join(f'`{name}`' for name in unused)} would not be used.",
            hint="Leave it out; `calibration` may be the path of a text.",
        )
    return replace(found, **given)
