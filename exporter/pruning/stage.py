"""Remove channels, heads and blocks before capture, and zero weights where the target skips zeros."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...backends.base import AxisRange, Feed
from ...calibration.feeds import checked, feeds_from_object
from ...errors import InputError, VerificationError
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target, load_target, target_names
from ...profiles.findings.files import json_text
from ...profiles.findings.pruning import PrunedGroup, Pruning
from ...profiles.machine import processes
from ...profiles.machine.writing import write_whole
from ...profiles.reading.json_file import read_as
from ..candidates.stages import has_data, why_unmeasured
from ..capture.stage import single_sizes
from ..graphs.synthesis import synthesize
from ..progress import Advance
from ..recipe import Recipe, choose_precision
from ..sources import Source
from ..sources.data import feeds_given
from ..sources.network import before_network, network_of, whole_of
from ..workshop import Workshop
from .choose import Chooser
from .dependency import agree, find_groups
from .given import ANEW, named_groups, removal_of
from .groups import Group, Removal
from .importance import choose_importance, order
from .keep import check_patterns, free, matching
from .latency import Bench
from .macs import Macs, count_macs
from .quality import Loss, losses
from .sparse import sparsify
from .surgery import cut, switched_off

if TYPE_CHECKING:
    from torch import nn

# Batches on which the outputs' error without some units is measured.
JUDGING_BATCHES = 4
# Sparse tensor cores read twice as many channels at once (NVIDIA TensorRT guide, as of the target's figure).
SPARSE_FACTOR = 2


def refuse(source: Source, recipe: Recipe) -> None:
    """Refuse what cannot be pruned or made sparse for any target, before any work.

    Raises:
        InputError: a ratio outside of 0..1, a source without a torch module, patterns that match nothing, or an
            importance that the source has no data for.
    """
    if recipe.prune is None and not recipe.sparse:
        return
    if recipe.prune is not None and not 0 < recipe.prune < 1:
        raise InputError(f"`prune` is {recipe.prune:g}; expected a share of the MACs between 0 and 1, as in 0.4.")
    if source.module is None or source.program is not None:
        kind = "an ONNX file" if source.module is None else "a .pt2 program"
        raise InputError(
            f"{source.name} comes from {kind}, whose layers cannot be changed any more.",
            hint="Give the model as a Python file with model() and inputs().",
        )
    network = network_of(source)
    assert network.module is not None
    check_patterns(network.module, recipe.keep)
    choose_importance(recipe.importance, network)


def refuse_dense(target: Target, recipe: Recipe) -> None:
    """Refuse sparse weights for a target that has no use for them, before any work.

    Raises:
        InputError: it does not run 2:4 weights any faster.
    """
    if recipe.sparse and not target.sparse_weights:
        able = ", ".join(name for name in target_names() if load_target(name).sparse_weights)
        raise InputError(f"Target {target.name} does not run 2:4 sparse weights any faster.", hint=f"These do: {able}.")


def run(
    *,
    source: Source,
    target: Target,
    recipe: Recipe,
    axes: Mapping[str, AxisRange],
    workshop: Workshop,
    advance: Advance,
) -> dict[str, Any]:
    """Replace the source's network by a smaller one; the module given is left alone, and so is what is around it.

    Returns:
        Of `source`, `original`, `restore`, `recipe` and `pruning` what changed; the recipe has the widths chosen.

    Raises:
        InputError: nothing can be removed, or not as much as was asked.
        VerificationError: the pruned module does not compute what the whole one does without these units.
    """
    if recipe.prune is None and not recipe.sparse:
        return {}
    network = network_of(source)
    task = _Task(source=network, target=target, recipe=recipe, axes=axes, workshop=workshop, advance=advance)
    found = {} if recipe.prune is None else _pruned(task, recipe.prune)
    if recipe.sparse:
        found |= _sparse(found.get("source", network), recipe)
    return {**found, "source": whole_of(found["source"]), "original": source}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What is pruned, a network alone, and for what."""

    source: Source
    target: Target
    recipe: Recipe
    axes: Mapping[str, AxisRange]
    workshop: Workshop
    advance: Advance

    @property
    def precision(self) -> PrecisionName:
        """What the engine is to be in, as far as that is known before it is made."""
        return choose_precision(self.recipe, self.target, has_data=has_data(self.recipe, self.source))[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """What is known of a model's groups before any choice.

    Attributes:
        groups: those that may lose units; with widths of a recipe, those that do.
        kept: why others may not, by name.
        order: the units of each group, least important first.
    """

    groups: tuple[Group, ...]
    kept: Mapping[str, str]
    macs: Macs
    importance: str
    order: Mapping[str, Sequence[int]]
    multiple: int
    feed: Feed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worth:
    """What the units of each group are worth.

    Attributes:
        losses: relative error of the outputs by units removed.
        gains: milliseconds saved by a unit, by group; None where time was not measured.
        ranked_by: what is saved per loss, in words.
    """

    losses: Mapping[str, Loss]
    gains: Mapping[str, float] | None
    ranked_by: str


def _pruned(task: _Task, share: float) -> dict[str, Any]:
    """Prune by the widths of the recipe, or by those chosen now."""
    advance = task.advance
    module = task.source.module
    assert module is not None
    survey = _survey(task)
    worth = None if task.recipe.pruned else _worth(task, survey)
    advance(None, "cutting")
    removal, smaller = (
        _as_given(task, module, survey, share) if worth is None else _cut(task, module, survey, worth, share)
    )
    _prove(task.source, module, smaller, survey.groups, removal)
    found = Pruning(
        asked=share,
        macs_before=survey.macs.total,
        macs_after=count_macs(smaller, survey.feed).total,
        importance=survey.importance,
        ranked_by=None if worth is None else worth.ranked_by,
        multiple=survey.multiple,
        groups=tuple(_reported(group, removal, worth) for group in survey.groups if removal.get(group.name)),
        kept=survey.kept,
    )
    recipe = task.recipe if worth is None else replace(task.recipe, pruned=found.widths)
    return {"source": _with(task.source, smaller), "pruning": found, "recipe": recipe}


def _survey(task: _Task) -> _Survey:
    """Find the groups, and in which order each would lose its units."""
    advance = task.advance
    source, recipe = task.source, task.recipe
    assert source.module is not None
    multiple = task.target.channel_multiple * (SPARSE_FACTOR if recipe.sparse else 1)
    advance(None, "dependencies")
    found = free(find_groups(source, multiple), recipe.keep)
    groups = named_groups(recipe.pruned, found, multiple) if recipe.pruned else found.groups
    if not groups:
        raise InputError(
            f"Nothing in {source.name} can be pruned{_because(found.kept)}", hint="Export without --prune."
        )
    feed = synthesize(source.inputs, source.dynamic, single_sizes(source, task.axes), recipe.seed)
    importance = choose_importance(recipe.importance, source)
    advance(None, f"importance by {importance}")
    return _Survey(
        groups=groups,
        kept=found.kept,
        macs=count_macs(source.module, feed),
        importance=importance,
        order=order(importance, source, groups),
        multiple=multiple,
        feed=feed,
    )


def _worth(task: _Task, survey: _Survey) -> _Worth:
    """Judge what each group's units are worth, and measure what they cost."""
    advance = task.advance
    module = task.source.module
    assert module is not None
    measured = losses(module, survey.groups, survey.order, _feeds(task), lambda done: advance(done, "loss of quality"))
    gains, ranked_by = _gains(task, survey)
    return _Worth(losses=measured, gains=gains, ranked_by=ranked_by)


def _as_given(task: _Task, module: nn.Module, survey: _Survey, share: float) -> tuple[Removal, nn.Module]:
    """Cut to the widths of the recipe, which must remove what the recipe asks for."""
    removal = removal_of(task.recipe.pruned, survey.groups, survey.order)
    smaller = cut(module, survey.groups, removal)
    removed = 1 - count_macs(smaller, survey.feed).total / survey.macs.total
    if removed < share:
        raise InputError(
            f"The widths in `pruned` remove {removed:.1%} of the MACs of {task.source.name}, and `prune` asks for "
            f"{share:.1%}.",
            hint=ANEW,
        )
    return removal, smaller


def _cut(task: _Task, module: nn.Module, survey: _Survey, worth: _Worth, share: float) -> tuple[Removal, nn.Module]:
    """Choose and cut until the count of MACs says that enough is gone."""
    chooser = Chooser(
        module=module,
        groups=survey.groups,
        macs=survey.macs,
        order=survey.order,
        losses=worth.losses,
        gains=worth.gains,
        multiple=survey.multiple,
    )
    wanted = share
    while chooser.narrow(wanted):
        removal = chooser.removal()
        smaller = cut(module, survey.groups, removal)
        removed = 1 - count_macs(smaller, survey.feed).total / survey.macs.total
        if removed >= share:
            return removal, smaller
        wanted = chooser.removed() + share - removed  # what the chooser reckons was more than the count says
    raise InputError(
        f"{chooser.removed():.1%} of the MACs of {task.source.name} can be removed at most, {share:.0%} were asked"
        f"{_because(survey.kept)}",
        hint="Ask for less with --prune, or look at --keep.",
    )


def _gains(task: _Task, survey: _Survey) -> tuple[Mapping[str, float] | None, str]:
    """Milliseconds by unit and group where the engine runs here, and how the report calls it."""
    place, target, precision = task.workshop.place, task.target, task.precision
    if why := why_unmeasured(target, task.recipe, task.workshop) or place.why_not_built(target):
        return None, f"MACs saved per loss of quality (latency was not measured: {why})"
    bench = Bench(source=task.source, target=target, place=place, precision=precision, axes=task.axes, feed=survey.feed)
    groups, ranked = survey.groups, survey.order

    def measure() -> dict[str, float]:
        return bench.savings(groups, ranked, survey.macs, survey.multiple, lambda done, note: task.advance(done, note))

    key = _key(task, groups, ranked)
    memo = task.workshop.memo
    savings = memo.once("savings", key, lambda: _once(memo.checkpoint, key, measure))
    return savings, f"{precision} latency measured on {place.tool(target)}, saved per loss of quality"


def _once(checkpoint: Path | None, key: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Measure in one process only, and once for a run that was killed: others must cut the same units."""
    path = None if checkpoint is None else checkpoint / f"pruning-{key}.json"

    def found() -> dict[str, float]:
        if path is not None and path.is_file():
            return read_as(path, dict[str, float], hint="Delete it to measure again.")
        measured = measure()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json_text(measured))
        return measured

    if processes.count() == 1:
        return found()
    from accelerate.utils import broadcast_object_list

    from ..training.setup import accelerator

    accelerator()
    shared: dict[str, float] = broadcast_object_list([found() if processes.rank() == 0 else None])[0]
    return shared


def _key(task: _Task, groups: Sequence[Group], ranked: Mapping[str, Sequence[int]]) -> str:
    """What a measurement depends on."""
    parts = [task.source.digest, repr(task.target), task.precision, repr(groups), repr(sorted(ranked.items()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _feeds(task: _Task) -> list[Feed]:
    """Batches to judge quality on: calibration data, or else the example."""
    from ..training.data import input_specs

    whole, path = task.source.whole or task.source, task.recipe.calibration
    specs = input_specs(whole)
    if path is not None:
        feeds = checked(feeds_given(task.recipe, specs, whole.inputs), specs, path)
    elif whole.calibration is not None:
        feeds = checked(feeds_from_object(whole.calibration), specs, "calibration()")
    else:
        return [task.source.inputs]
    return [before_network(whole, feed) for feed in islice(feeds(), JUDGING_BATCHES)]


def _prove(source: Source, whole: nn.Module, smaller: nn.Module, groups: Sequence[Group], removal: Removal) -> None:
    from ..sources.torch_module import output_tensors

    with switched_off(whole, groups, removal) as without:
        expected = output_tensors(without, source.inputs)
    if not agree(expected, output_tensors(smaller, source.inputs)):
        raise VerificationError(
            f"The pruned {source.name} does not compute what the whole one does without the same units.",
            hint=f"Keep one of the groups with --keep: {', '.join(removal)}.",
        )


def _reported(group: Group, removal: Removal, worth: _Worth | None) -> PrunedGroup:
    gone = len(removal[group.name])
    return PrunedGroup(
        name=group.name,
        kind=group.kind,
        before=group.units * group.size if group.kind == "channels" else group.units,
        after=group.units - gone,
        loss=None if worth is None else worth.losses[group.name](gone),
        saved=None if worth is None or worth.gains is None else worth.gains[group.name] * gone,
    )


def _with(source: Source, module: nn.Module) -> Source:
    from ..sources.torch_module import module_digest

    return replace(source, module=module, digest=module_digest(module, source.inputs, source.dynamic))


def _sparse(source: Source, recipe: Recipe) -> dict[str, Any]:
    """Zero weights of a copy; recovery training puts the zeros back after each step."""
    module = copy.deepcopy(source.module)
    assert module is not None
    restore, _ = sparsify(module, lambda name: bool(matching(name, recipe.keep)))
    return {"source": _with(source, module), "restore": restore}


def _because(kept: Mapping[str, str]) -> str:
    """The reasons as the end of a sentence, a line each."""
    lines = [f"\n  {name}: {reason}" for name, reason in list(kept.items())[:10]]
    more = f"\n  and {len(kept) - 10} more" if len(kept) > 10 else ""
    return f"; what stays:{''.join(lines)}{more}" if lines else "."
