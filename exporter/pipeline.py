"""The pipeline: one list of stages, and the loop that runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..backends.base import AxisRange
from ..backends.registry import load_backend
from ..errors import EdgepressError, InputError
from ..profiles.device.target import Target
from ..profiles.machine import processes
from ..profiles.machine.environment import usable_cores
from .bundle import pack
from .bundle.manifest import Bundle, check_destination, load_bundle, new_directory
from .candidates import choose, measure
from .capture import stage as reference
from .draft import Draft, OpenSessions, Shared
from .progress import Advance, Progress
from .pruning import stage as prune
from .recipe import Recipe, choose_precision
from .sources import Source
from .training import stage as recover


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of an export: a draft in, a draft with more in it out."""

    title: str
    run: Callable[[Draft, Advance], Draft]


def plan() -> tuple[Stage, ...]:
    """What happens to a model, in order."""
    return (
        Stage(title="prune", run=prune.run),
        Stage(title="train", run=recover.run),
        Stage(title="capture", run=reference.run),
        *(Stage(title=title, run=choose.attempt(title)) for title in choose.BUILD),
        Stage(title="measure", run=measure.run),
        Stage(title="choose", run=choose.run),
    )


def export_bundles(
    source: Source,
    targets: Sequence[Target],
    recipe: Recipe,
    destination: Callable[[Target], Path],
    progress: Progress,
    *,
    force: bool,
    command: str,
    checkpoint: Path | None = None,
    made: Callable[[Target, Bundle], None] = lambda target, bundle: None,
) -> list[Bundle]:
    """Export a source to each target, in order; each bundle exists whole or not at all.

    Args:
        destination: where a target's bundle goes.
        made: told of each bundle when it is finished.
        command: how to do it again, for the report.
        checkpoint: directory in which training runs are kept, so that a killed one goes on.

    Raises:
        InputError, VerificationError, UnservedError: as the stages say, with the target; bundles finished before stay.
    """
    if processes.count() > 1 and len(targets) > 1:
        raise InputError(f"{processes.count()} processes train for one target at a time; {len(targets)} were given.")
    for target in targets:
        with _naming(target):
            check_destination(destination(target), force=force)
            load_backend(target.backend).require(target)
    prune.refuse(source, targets, recipe)
    axes = axis_ranges(source, recipe)
    with tempfile.TemporaryDirectory(prefix="edgepress-") as directory:
        shared = Shared(directory=Path(directory), checkpoint=checkpoint)
        bundles = []
        for target in targets:
            place = destination(target)
            with _naming(target):
                bundle = export_bundle(
                    source, target, recipe, axes, place, shared, progress, force=force, command=command
                )
            made(target, bundle)
            bundles.append(bundle)
        return bundles


@contextmanager
def _naming(target: Target) -> Iterator[None]:
    """An error says whose export it ended."""
    try:
        yield
    except EdgepressError as error:
        error.target = target.name
        raise


def axis_ranges(source: Source, recipe: Recipe) -> dict[str, AxisRange]:
    """The range of every free axis: the recipe's, else 1 : the example's size : 8 times that.

    Raises:
        InputError: the recipe names an axis that is not free.
    """
    usual = {
        name: int(source.inputs[tensor].shape[axis])
        for tensor, axes in source.dynamic.items()
        for axis, name in axes.items()
    }
    if unknown := sorted(set(recipe.axes) - set(usual)):
        raise InputError(f"--axis names {', '.join(unknown)}; the free axes are {', '.join(sorted(usual)) or 'none'}.")
    default = {name: AxisRange(smallest=1, usual=size, largest=8 * size) for name, size in usual.items()}
    return {**default, **recipe.axes}


def export_bundle(
    source: Source,
    target: Target,
    recipe: Recipe,
    axes: Mapping[str, AxisRange],
    destination: Path,
    shared: Shared,
    progress: Progress,
    *,
    force: bool,
    command: str,
    stages: Sequence[Stage] | None = None,
    watch: Callable[[Draft], None] = lambda draft: None,
) -> Bundle:
    """Export a source to one target, as `export_bundles` does to each.

    Args:
        axes: range of every free axis.
        shared: what this export takes over from others, and leaves to them.
        stages: the part of `plan()` to run; default all of it.
        watch: shown the draft after each stage; what it raises ends the export, and nothing is left of it.
    """
    has_data = any(data is not None for data in (recipe.calibration, recipe.statistics, source.calibration))
    precision, remark = choose_precision(recipe, target, has_data=has_data)
    with (
        new_directory(destination, force=force) as directory,
        tempfile.TemporaryDirectory(prefix="edgepress-") as scratch,
        OpenSessions() as sessions,
    ):
        draft = Draft(
            source=source,
            target=target,
            recipe=recipe,
            backend=load_backend(target.backend),
            directory=directory,
            scratch=Path(scratch),
            shared=shared,
            sessions=sessions,
            threads=recipe.threads or usable_cores(),
            axes=axes,
            precision=precision,
            missing={"precision": remark} if remark else {},
        )
        seconds: dict[str, float] = {}
        for stage in plan() if stages is None else stages:
            with progress.step(stage.title, seconds, prefix=f"{target.name}: ") as advance:
                draft = stage.run(draft, advance)
            watch(draft)
        pack.write(draft, seconds, command)
    return load_bundle(destination)
