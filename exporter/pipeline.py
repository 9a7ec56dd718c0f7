"""The pipeline: the whole order of an export, and the loop that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import clear_frames
from typing import Any

from ..backends.base import AxisRange
from ..backends.places import place_for
from ..backends.registry import load_backend
from ..errors import EdgepressError, InputError, TargetsError
from ..profiles.device.target import Target
from ..profiles.machine import interrupts, processes
from ..profiles.machine.held import temporary
from ..profiles.machine.naming import naming
from .bundle import pack
from .bundle.directory import check_destination, new_directory
from .bundle.manifest import SIGNATURE, Bundle, load_bundle
from .bundle.signature import write_signature
from .bundle.signing_keys import PrivateKey
from .candidates import choose, stages
from .candidates.make import Watch, unwatched
from .capture import stage as capture
from .capture.example import with_example
from .decoding.pipeline import export_decoder, refuse_settings
from .draft import Draft
from .graphs.free_axes import need_free
from .progress import Advance, Progress
from .pruning import stage as prune
from .recipe import Recipe
from .sources import DecoderSource, Source
from .sources.data import show_pictures
from .training import stage as train
from .training.data import input_specs
from .workshop import Memo, OpenSessions, Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of an export.

    Attributes:
        run: called with the fields of the draft that it needs, and `advance`, by keyword; returns those that it adds.
        watched: it also takes `watch`, which is shown each candidate on its way.
    """

    title: str
    run: Callable[..., Mapping[str, Any]]
    needs: tuple[str, ...]
    adds: tuple[str, ...]
    watched: bool = False

    def on(self, draft: Draft, advance: Advance, **more: Any) -> Draft:
        """The draft with what this stage finds.

        Raises:
            LookupError: the plan is wrong: nothing before it added what it needs, or it adds what it does not say.
        """
        given = draft.given(self.needs)
        if absent := [name for name in self.needs if given[name] in (None, ()) and name in _FILLED]:
            raise LookupError(f"Stage {self.title} needs {absent[0]}, which no stage before it has added.")
        found = self.run(**given, **more, advance=advance)
        if sly := found.keys() - set(self.adds):
            raise LookupError(f"Stage {self.title} adds {', '.join(sorted(sly))}, which it does not say.")
        return draft.having(found).since(draft, self.title)


# Fields that a stage must have filled before another one can need them; the others may stay empty.
_FILLED = ("captured", "candidates", "decision")

MODEL = ("source", "target", "recipe", "axes", "workshop")
MAKING = ("source", "original", "target", "recipe", "captured", "workshop")
# What happens to a model, in order.
PLAN = (
    Stage(title="prune", run=prune.run, needs=MODEL, adds=("source", "original", "restore", "recipe", "pruning")),
    Stage(
        title="train",
        run=train.run,
        needs=("source", "original", "recipe", "restore", "workshop"),
        adds=("source", "original", "training", "missing"),
    ),
    Stage(title="capture", run=capture.run, needs=MODEL, adds=("captured", "missing")),
    Stage(title="candidates", run=stages.make, needs=MAKING, adds=("candidates", "missing"), watched=True),
    Stage(title="measure", run=stages.measure, needs=(*MAKING, "candidates"), adds=("timed", "missing")),
    Stage(title="choose", run=choose.choose, needs=(*MAKING, "candidates", "timed"), adds=("decision", "missing")),
)


# Exports the source of a run to one target: its bundle's place, and what the targets have in common.
Export = Callable[[Target, Path, Memo], Bundle]


def export_bundles(
    source: Source | DecoderSource,
    targets: Sequence[Target],
    recipe: Recipe,
    destination: Callable[[Target], Path],
    progress: Progress,
    *,
    force: bool,
    command: str,
    checkpoint: Path | None = None,
    made: Callable[[Target, Bundle], None] = lambda target, bundle: None,
    sign: PrivateKey | None = None,
    on: str | None = None,
) -> list[Bundle]:
    """Export a source to each target, in order; each bundle exists whole or not at all.

    A target that fails does not end the others; what concerns all of them does, and so does an interrupt.

    Args:
        destination: where a target's bundle goes.
        made: told of each bundle when it is finished.
        command: how to do it again, for the report.
        checkpoint: directory in which training runs are kept, so that a killed one goes on.
        sign: signs each bundle.
        on: address of the place where engines are judged and measured; by default where this machine shows most of
            each target's device.

    Raises:
        InputError, VerificationError, UnservedError: as the stages say, of the one target or of what concerns all.
        TargetsError: some of several targets failed; the bundles of the others are there. So they are where a target
            met a bug, whose own error is raised at the end.
    """
    errors = _unable(source, targets, recipe, destination, force=force)
    bundles: dict[str, Bundle] = {}
    able = [target for target in targets if target.name not in errors]
    with temporary() as directory:
        memo = Memo(directory=directory, checkpoint=checkpoint)
        export = _export_of(source, able, recipe, progress, force=force, command=command, sign=sign, on=on)
        for target in able:
            with _kept(target, errors):
                bundles[target.name] = export(target, destination(target), memo)
            if target.name in bundles:
                made(target, bundles[target.name])
    if errors:
        raise _together(targets, errors, bundles)
    return list(bundles.values())


def _unable(
    source: Source | DecoderSource,
    targets: Sequence[Target],
    recipe: Recipe,
    destination: Callable[[Target], Path],
    *,
    force: bool,
) -> dict[str, Exception]:
    """Why some targets cannot be exported to, known before any work is done; by name.

    Raises:
        InputError: what concerns all of them.
    """
    if processes.count() > 1 and len(targets) > 1:
        raise InputError(f"{processes.count()} processes train for one target at a time; {len(targets)} were given.")
    _refuse(source, recipe)
    errors: dict[str, Exception] = {}
    for target in targets:
        with _kept(target, errors):
            check_destination(destination(target), force=force)
            load_backend(target.backend).require(target)
            prune.refuse_dense(target, recipe)
    return errors


def _refuse(source: Source | DecoderSource, recipe: Recipe) -> None:
    """Refuse settings that concern all targets.

    Raises:
        InputError: naming them.
    """
    if isinstance(source, DecoderSource):
        refuse_settings(recipe)
    else:
        prune.refuse(source, recipe)


def _export_of(
    source: Source | DecoderSource, targets: Sequence[Target], recipe: Recipe, progress: Progress, **how: Any
) -> Export:
    """What exports the source to one target; `how` are keywords of `export_bundle`."""
    if isinstance(source, DecoderSource):
        decoder = source
        return lambda target, where, memo: export_decoder(decoder, target, recipe, where, memo, progress, **how)
    network = with_example(source, recipe, targets[0]) if targets else source
    axes = axis_ranges(network, recipe)
    show_pictures(recipe, input_specs(network), network.inputs)
    return lambda target, where, memo: export_bundle(network, target, recipe, axes, where, memo, progress, **how)


@contextmanager
def _kept(target: Target, errors: dict[str, Exception]) -> Iterator[None]:
    """An error of the block is noted under the target that it is of."""
    try:
        yield
    except Exception as error:
        if interrupts.heard():
            raise KeyboardInterrupt from error
        if isinstance(error, EdgepressError):
            error.target = target.name
        # Its frames hold the target's model, data and sessions, and the next target needs the memory.
        clear_frames(error.__traceback__)
        errors[target.name] = error


def _together(targets: Sequence[Target], errors: Mapping[str, Exception], bundles: Mapping[str, Bundle]) -> Exception:
    """What is raised at the end: a bug, which keeps its traceback, and the error itself where there was one target."""
    expected = {
        target.name: error for target in targets if isinstance(error := errors.get(target.name), EdgepressError)
    }
    bug = next((error for error in errors.values() if not isinstance(error, EdgepressError)), None)
    if len(targets) == 1 or not expected:
        return bug or expected[targets[0].name]
    together = TargetsError(expected, {name: bundle.path for name, bundle in bundles.items()})
    if bug is None:
        return together
    if bug.__cause__ is None:
        bug.__cause__ = together  # the traceback shows what the others failed with
    return bug


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
    need_free(recipe.axes, usual)
    default = {name: AxisRange(smallest=1, usual=size, largest=8 * size) for name, size in usual.items()}
    return {**default, **source.ranges, **recipe.axes}


def export_bundle(
    source: Source,
    target: Target,
    recipe: Recipe,
    axes: Mapping[str, AxisRange],
    destination: Path,
    memo: Memo,
    progress: Progress,
    *,
    force: bool,
    command: str,
    sign: PrivateKey | None = None,
    on: str | None = None,
    plan: Sequence[Stage] = PLAN,
    watch: Callable[[Draft], None] = lambda draft: None,
    watch_candidate: Watch = unwatched,
) -> Bundle:
    """Export a source to one target, as `export_bundles` does to each.

    Args:
        axes: range of every free axis.
        memo: what this export takes over from others, and leaves to them.
        sign: signs the bundle.
        on: address of the place where engines are judged and measured.
        plan: the part of `PLAN` to run; default all of it.
        watch: shown the draft after each stage; what it raises ends the export, and nothing is left of it.
        watch_candidate: shown a candidate after each step of making it, likewise.
    """
    destination, seconds = destination.absolute(), dict[str, float]()
    with _workshop(target, recipe, destination, memo, force=force, on=on) as workshop:
        draft = Draft(source=source, target=target, recipe=recipe, axes=axes, workshop=workshop)
        for stage in plan:
            more = {"watch": watch_candidate} if stage.watched else {}
            with progress.step(stage.title, seconds, prefix=f"{target.name}: ") as advance:
                draft = stage.on(draft, advance, **more)
            watch(draft)
        name = f"{draft.source.name}-{target.name}"
        with naming(destination):
            pack.run(**draft.given(pack.NEEDS), name=name, seconds=seconds, command=command)
            if sign is not None:
                write_signature(workshop.directory, name, sign, workshop.directory / SIGNATURE)
    return load_bundle(destination)


@contextmanager
def _workshop(
    target: Target, recipe: Recipe, destination: Path, memo: Memo, *, force: bool, on: str | None
) -> Iterator[Workshop]:
    """Where a bundle is made, which lies at its destination when the block ends well."""
    with (
        _making(destination, force=force) as directory,
        temporary() as scratch,
        OpenSessions() as sessions,
    ):
        place = place_for(target, on)
        yield Workshop(
            directory=directory,
            scratch=scratch,
            memo=memo,
            sessions=sessions,
            threads=recipe.threads or place.threads(),
            place=place,
        )


@contextmanager
def _making(destination: Path, *, force: bool) -> Iterator[Path]:
    """The directory. Of several processes that train together the first writes it; the others leave before that."""
    if processes.rank() == 0:
        with new_directory(destination, force=force) as directory:
            yield directory
    else:
        with temporary() as directory:
            yield directory
