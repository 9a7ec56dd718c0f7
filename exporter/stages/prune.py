"""Remove channels, heads and blocks before capture, and zero weights where the target skips zeros."""

from __future__ import annotations

import copy
import difflib
import fnmatch
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...backends.base import Feed
from ...calibration.feeds import checked, feeds_from_object, feeds_from_path
from ...errors import InputError, VerificationError
from ...profiles.pruning import PrunedGroup, Pruning
from ...profiles.target import Target, load_target, target_names
from ..draft import Draft
from ..progress import Advance
from ..pruning.choose import Chooser
from ..pruning.dependency import agree, find_groups
from ..pruning.groups import Group, Removal
from ..pruning.importance import choose_importance, order
from ..pruning.latency import Bench
from ..pruning.macs import Macs, count_macs
from ..pruning.quality import Loss, losses
from ..pruning.sparse import sparsify
from ..pruning.surgery import cut, switched_off
from ..recipe import Recipe
from ..sources import Source
from ..synthesis import synthesize
from ..training import processes
from .measure import unmeasured
from .reference import single_sizes

if TYPE_CHECKING:
    from torch import nn

# Batches on which the outputs' error without some units is measured.
JUDGING_BATCHES = 4
# Sparse tensor cores read twice as many channels at once (NVIDIA TensorRT guide, as of the target's figure).
SPARSE_FACTOR = 2


def refuse(source: Source, targets: Sequence[Target], recipe: Recipe) -> None:
    """Refuse what cannot be pruned or made sparse, before any work.

    Raises:
        InputError: a ratio outside of 0..1, a source without a torch module, patterns that match nothing, an importance
            that the source has no data for, or a target that does not run 2:4 weights.
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
    _check_patterns(source.module, recipe.keep)
    choose_importance(recipe.importance, source)
    dense = [target.name for target in targets if recipe.sparse and not target.sparse_weights]
    if dense:
        able = ", ".join(name for name in target_names() if load_target(name).sparse_weights)
        raise InputError(
            f"Target {', '.join(dense)} does not run 2:4 sparse weights any faster.", hint=f"These do: {able}."
        )


def run(draft: Draft, advance: Advance) -> Draft:
    """Replace the source's module by a smaller one; the module given is left alone.

    Raises:
        InputError: nothing can be removed, or not as much as was asked.
        VerificationError: the pruned module does not compute what the whole one does without these units.
    """
    if draft.recipe.prune is not None:
        draft = _pruned(draft, draft.recipe.prune, advance)
    return _sparse(draft) if draft.recipe.sparse else draft


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """What is known of a model's groups before any choice.

    Attributes:
        groups: those that may lose units.
        kept: why others may not, by name.
        gains: milliseconds saved by a unit, by group; None where time was not measured.
    """

    groups: tuple[Group, ...]
    kept: Mapping[str, str]
    macs: Macs
    importance: str
    order: Mapping[str, Sequence[int]]
    losses: Mapping[str, Loss]
    gains: Mapping[str, float] | None
    ranked_by: str
    multiple: int
    feed: Feed


def _pruned(draft: Draft, share: float, advance: Advance) -> Draft:
    module = draft.source.module
    assert module is not None
    survey = _survey(draft, advance)
    advance(None, "cutting")
    removal, smaller = _cut(draft, module, survey, share)
    _prove(draft.source, module, smaller, survey.groups, removal)
    after = count_macs(smaller, survey.feed).total
    found = Pruning(
        asked=share,
        macs_before=survey.macs.total,
        macs_after=after,
        importance=survey.importance,
        ranked_by=survey.ranked_by,
        multiple=survey.multiple,
        groups=tuple(_reported(group, removal, survey) for group in survey.groups if removal.get(group.name)),
        kept=survey.kept,
    )
    return replace(draft, source=_with(draft.source, smaller), original=draft.source, pruning=found)


def _survey(draft: Draft, advance: Advance) -> _Survey:
    """Find the groups and measure what each is worth."""
    source, recipe = draft.source, draft.recipe
    assert source.module is not None
    multiple = draft.target.channel_multiple * (SPARSE_FACTOR if recipe.sparse else 1)
    advance(None, "dependencies")
    found = find_groups(source, multiple)
    chosen = {group.name: _held(group, recipe.keep) for group in found.groups}
    groups = tuple(group for group in found.groups if not chosen[group.name])
    kept = {**found.kept, **{name: reason for name, reason in chosen.items() if reason}}
    if not groups:
        raise InputError(f"Nothing in {source.name} can be pruned{_because(kept)}", hint="Export without --prune.")
    feed = synthesize(source.inputs, source.dynamic, single_sizes(draft), recipe.seed)
    macs = count_macs(source.module, feed)
    importance = choose_importance(recipe.importance, source)
    advance(None, f"importance by {importance}")
    ranked = order(importance, source, groups)
    measured = losses(source.module, groups, ranked, _feeds(draft), lambda done: advance(done, "loss of quality"))
    gains, ranked_by = _gains(draft, groups, ranked, macs, multiple, feed, advance)
    return _Survey(
        groups=groups,
        kept=kept,
        macs=macs,
        importance=importance,
        order=ranked,
        losses=measured,
        gains=gains,
        ranked_by=ranked_by,
        multiple=multiple,
        feed=feed,
    )


def _cut(draft: Draft, module: nn.Module, survey: _Survey, share: float) -> tuple[Removal, nn.Module]:
    """Choose and cut until the count of MACs says that enough is gone."""
    chooser = Chooser(
        module=module,
        groups=survey.groups,
        macs=survey.macs,
        order=survey.order,
        losses=survey.losses,
        gains=survey.gains,
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
        f"{chooser.removed():.1%} of the MACs of {draft.source.name} can be removed at most, {share:.0%} were asked"
        f"{_because(survey.kept)}",
        hint="Ask for less with --prune, or look at --keep.",
    )


def _gains(
    draft: Draft,
    groups: Sequence[Group],
    ranked: Mapping[str, Sequence[int]],
    macs: Macs,
    multiple: int,
    feed: Feed,
    advance: Advance,
) -> tuple[Mapping[str, float] | None, str]:
    """Milliseconds by unit and group where the engine runs here, and how the report calls it."""
    if why := unmeasured(draft) or draft.backend.obstacle(draft.target):
        return None, f"MACs saved per loss of quality (latency was not measured: {why})"
    bench = Bench(
        source=draft.source,
        target=draft.target,
        backend=draft.backend,
        precision=draft.precision,
        axes=draft.axes,
        feed=feed,
    )
    key = _key(draft, groups, ranked)
    if key not in draft.shared.savings:
        draft.shared.savings[key] = _once(
            draft, key, lambda: bench.savings(groups, ranked, macs, multiple, lambda done, note: advance(done, note))
        )
    said = f"{draft.precision} latency measured on {draft.backend.available().version}, saved per loss of quality"
    return draft.shared.savings[key], said


def _once(draft: Draft, key: str, measure: Any) -> dict[str, float]:
    """Measure in one process only, and once for a run that was killed: others must cut the same units."""
    path = None if draft.shared.checkpoint is None else draft.shared.checkpoint / f"pruning-{key}.json"

    def found() -> dict[str, float]:
        if path is not None and path.is_file():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        measured: dict[str, float] = measure()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(measured), encoding="utf-8")
        return measured

    if processes.count() == 1:
        return found()
    from accelerate.utils import broadcast_object_list

    from ..training.setup import accelerator

    accelerator()
    shared: dict[str, float] = broadcast_object_list([found() if processes.rank() == 0 else None])[0]
    return shared


def _key(draft: Draft, groups: Sequence[Group], ranked: Mapping[str, Sequence[int]]) -> str:
    """What a measurement depends on."""
    parts = [draft.source.digest, repr(draft.target), draft.precision, repr(groups), repr(sorted(ranked.items()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _feeds(draft: Draft) -> list[Feed]:
    """Batches to judge quality on: calibration data, or else the example."""
    from ..training.data import input_specs

    source, path = draft.source, draft.recipe.calibration
    if path is not None:
        batch = next((len(array) for array in source.inputs.values() if array.ndim), 1)
        feeds = checked(feeds_from_path(Path(path), input_specs(source), batch), input_specs(source), path)
    elif source.calibration is not None:
        feeds = checked(feeds_from_object(source.calibration), input_specs(source), "calibration()")
    else:
        return [source.inputs]
    return list(islice(feeds(), JUDGING_BATCHES))


def _prove(source: Source, whole: nn.Module, smaller: nn.Module, groups: Sequence[Group], removal: Removal) -> None:
    from ..sources.torch_module import output_tensors

    with switched_off(whole, groups, removal) as without:
        expected = output_tensors(without, source.inputs)
    if not agree(expected, output_tensors(smaller, source.inputs)):
        raise VerificationError(
            f"The pruned {source.name} does not compute what the whole one does without the same units.",
            hint=f"Keep one of the groups with --keep: {', '.join(removal)}.",
        )


def _reported(group: Group, removal: Removal, survey: _Survey) -> PrunedGroup:
    gone = len(removal[group.name])
    return PrunedGroup(
        name=group.name,
        kind=group.kind,
        before=group.units * group.size if group.kind == "channels" else group.units,
        after=group.units - gone,
        loss=survey.losses[group.name](gone),
        saved=None if survey.gains is None else survey.gains[group.name] * gone,
    )


def _with(source: Source, module: nn.Module) -> Source:
    from ..sources.torch_module import module_digest

    return replace(source, module=module, digest=module_digest(module, source.inputs, source.dynamic))


def _sparse(draft: Draft) -> Draft:
    """Zero weights of a copy; recovery training puts the zeros back after each step."""
    assert draft.source.module is not None
    module = copy.deepcopy(draft.source.module)
    restore, _ = sparsify(module, lambda name: bool(_matching(name, draft.recipe.keep)))
    original = draft.original or draft.source
    return replace(draft, source=_with(draft.source, module), original=original, restore=restore)


def _held(group: Group, patterns: Sequence[str]) -> str:
    """Why the user's patterns keep the group; empty where they do not. A block goes only if all in it may go."""
    if group.kind == "block":
        inside = [pattern for pattern in patterns if pattern.startswith(f"{group.name}.")]
        found = _matching(group.name, patterns) or (inside[0] if inside else "")
    else:
        found = next((p for module in group.modules if (p := _matching(module, patterns))), "")
    return f"--keep {found}" if found else ""


def _matching(name: str, patterns: Sequence[str]) -> str:
    """The first pattern that is the module's name, matches it, or does so for a module around it."""
    parts = name.split(".")
    around = [".".join(parts[: i + 1]) for i in range(len(parts))]
    return next((p for p in patterns if any(fnmatch.fnmatchcase(outer, p) for outer in around)), "")


def _check_patterns(module: nn.Module, patterns: Sequence[str]) -> None:
    known = [name for name, _ in module.named_modules() if name]
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            near = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4)
            raise InputError(
                f"--keep {pattern} matches no module of the model.",
                hint=f"Did you mean {' or '.join(near)}?" if near else f"Its modules are {', '.join(known[:20])}.",
            )


def _because(kept: Mapping[str, str]) -> str:
    """The reasons as the end of a sentence, a line each."""
    lines = [f"\n  {name}: {reason}" for name, reason in list(kept.items())[:10]]
    more = f"\n  and {len(kept) - 10} more" if len(kept) > 10 else ""
    return f"; what stays:{''.join(lines)}{more}" if lines else "."
