"""The same export from Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..profiles.budget.limits import Drop
from ..profiles.device.target import Target, load_target
from .bundle.manifest import Bundle
from .recipe import Recipe, TrainingSettings, budget_settings

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..backends.base import Array, AxisRange, Feed

    Model = torch.nn.Module | str | Path
    Inputs = Mapping[str, torch.Tensor | np.ndarray[Any, Any]] | Sequence[torch.Tensor] | torch.Tensor


def export(
    model: Model,
    inputs: Inputs | None = None,
    *,
    target: str | Target,
    name: str | None = None,
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    calibration: Callable[[], Iterable[Feed]] | Sequence[Feed] | str | Path | None = None,
    evaluate: Callable[[Callable[[Feed], dict[str, Array]]], float] | None = None,
    training: Callable[..., Iterable[tuple[Mapping[str, torch.Tensor], Any]]] | None = None,
    loss: Callable[[Any, Any], torch.Tensor] | None = None,
    student: Callable[[], torch.nn.Module] | None = None,
    prune: float | None = None,
    importance: str = "auto",
    keep: Sequence[str] = (),
    sparse: bool = False,
    distill: bool = False,
    training_settings: TrainingSettings | None = None,
    checkpoint: str | Path | None = None,
    precision: str = "auto",
    exclude: Sequence[str] = (),
    axes: Mapping[str, AxisRange] | None = None,
    minimum_sqnr_db: float | None = None,
    max_drop: str | float | None = None,
    budget: Mapping[str, str] | None = None,
    measure: bool = True,
    threads: int | None = None,
    seed: int = 0,
    output: str | Path = "dist",
    force: bool = False,
    trust_source: bool = False,
    quiet: bool = True,
) -> Bundle:
    """Export a model to a target: capture, compress, compile, verify, measure, bundle.

    Args:
        model: a torch module with its trained weights, or what `edgepress export` takes as SOURCE.
        inputs: one example batch by name of forward's arguments (a tensor or a tuple takes their names); batch >= 2
            where the batch is to stay free. Required with a module, not allowed with a SOURCE, which brings its own.
        target: a target's name, alias or TOML file, or a `Target`.
        name: of the bundle; default the module's class name in lower case.
        dynamic: free axes by input: `{"image": {0: "batch"}}`.
        calibration: batches `{input: array}`, a function that returns them, or a path as for `--calibration`.
        evaluate: the task metric, higher is better, given a function from `{input: array}` to `{output: array}`.
        training: one pass over the training data, pairs of `{input: tensor}` and targets; a parameter called `epoch` is
            given its number.
        loss: of the module's result and a batch's targets, a scalar to minimise.
        student: makes a smaller network for the same inputs and outputs.
        prune: share of the multiply-accumulates to remove before capture, between 0 and 1.
        importance: `magnitude`, `taylor`, `batchnorm`, or `auto`: Taylor where there is training data.
        keep: modules that pruning leaves alone, names or shell patterns.
        sparse: 2:4 sparse weights, for targets that run them faster.
        distill: ship the student, trained against the model.
        training_settings: of that training; default `TrainingSettings()`.
        checkpoint: directory of training runs, so that a killed one goes on.
        precision: `int8`, `fp16` or `fp32`; `auto` is the fastest of those that keep the accuracy.
        exclude: node names, operator types or shell patterns of either that stay float.
        axes: ranges of free axes; default 1 : the example's size : 8 times that.
        minimum_sqnr_db: least agreement with FP32, in dB of SQNR on the golden inputs, to ship.
        max_drop: most that `evaluate` may lose: `"1%"` of it, or `0.01` in its own unit.
        budget: limits by the names of `--budget`: `{"latency_p90": "5ms", "size": "4MB"}`. The verdicts are in the
            report; nothing is raised where one was missed.
        measure: measure latency where the engine runs on this machine.
        threads: intra-op threads; default all usable cores.
        output: directory that receives `NAME-TARGET/`.
        force: replace a bundle that exists.
        trust_source: allow sources that can run code when loaded.
        quiet: no progress bars.

    Returns:
        The finished bundle: `bundle.path`, `bundle.manifest`, `bundle.report`.

    Raises:
        InputError: the model, the data or an option is at fault.
        VerificationError: the capture or the engine does not agree with the model.
        UnservedError: the target cannot be served on this machine.
    """
    from ..calibration.feeds import feeds_from_object
    from .pipeline import export_bundles
    from .progress import progress
    from .sources import load_source, source_from_object
    from .sources.base import numbered

    path = str(calibration) if isinstance(calibration, str | Path) else None
    feeds = None if isinstance(calibration, str | Path | None) else feeds_from_object(calibration)
    if isinstance(model, str | Path):
        if inputs is not None or dynamic is not None or name is not None:
            raise InputError("`inputs`, `dynamic` and `name` go with a module; a source file brings its own.")
        loaded = load_source(str(model), trust=trust_source)
        source = replace(
            loaded,
            calibration=feeds or loaded.calibration,
            evaluate=evaluate or loaded.evaluate,
            training=loaded.training if training is None else numbered(training),
            loss=loss or loaded.loss,
            student=student or loaded.student,
        )
    else:
        if inputs is None:
            raise InputError("A module needs `inputs`: one example batch by name of forward's arguments.")
        source = source_from_object(
            model,
            inputs,
            name=name or type(model).__name__.lower(),
            dynamic={tensor: dict(free) for tensor, free in (dynamic or {}).items()},
            calibration=feeds,
            evaluate=evaluate,
            training=training,
            loss=loss,
            student=student,
        )
    recipe = Recipe(
        precision=precision,
        calibration=path,
        exclude=tuple(exclude),
        axes=dict(axes or {}),
        minimum_sqnr_db=minimum_sqnr_db,
        **_limits(max_drop, budget or {}),
        prune=prune,
        importance=importance,
        keep=tuple(keep),
        sparse=sparse,
        distill=distill,
        training=training_settings or TrainingSettings(),
        measure=measure,
        threads=threads,
        seed=seed,
    )
    resolved = target if isinstance(target, Target) else load_target(target)
    with progress(quiet=quiet) as shown:
        (bundle,) = export_bundles(
            source,
            [resolved],
            recipe,
            lambda t: Path(output) / f"{source.name}-{t.name}",
            shown,
            force=force,
            command=f"edgepress.export({source.name!r}, target={resolved.name!r}) from Python {sys.version_info[0]}",
            checkpoint=None if checkpoint is None else Path(checkpoint),
        )
    return bundle


def _limits(max_drop: str | float | None, budget: Mapping[str, str]) -> dict[str, Any]:
    settings = budget_settings(budget)
    if max_drop is not None and "max_drop" in settings:
        raise InputError("`max_drop` and the budget's `accuracy_drop` were both given; they are the same.")
    if max_drop is not None:
        settings["max_drop"] = Drop.parse(str(max_drop))
    return settings
