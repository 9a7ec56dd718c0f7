"""The search itself: trials until enough, then the front, the choice and its bundle."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic_core import to_jsonable_python
from rich.console import Console

from ...backends.registry import load_backend
from ...errors import InputError, UnservedError
from ...profiles.budget.budget import Budget
from ...profiles.budget.limits import Drop
from ...profiles.machine.environment import usable_cores
from ..bundle.directory import check_destination
from ..bundle.manifest import sha256
from ..capture.example import with_example
from ..decoding.pipeline import refuse_settings
from ..decoding.task import USUAL_RISE
from ..progress import Progress
from ..recipe import Recipe
from ..recipe_file import dump_recipe
from ..sources import DecoderSource, Source
from .baseline import Baseline, baseline, untimed
from .choice import front
from .conclude import conclude
from .plan import Plan, Tuned
from .space import Space, space_of
from .storage import explained
from .study import Study, open_study
from .text_space import text_space
from .text_trials import TextBaseline, TextTrials, text_baseline
from .trial import Trials

# Of a decoder: what is timed.
SPEEDS = ("decode", "prefill", "first_token")
# Without a limit the cheapest point would be a useless one.
USUAL_DROP = Drop(amount=0.01, relative=True)


def tune(plan: Plan, progress: Progress, tell: Console, command: str) -> Tuned:
    """Search, and export what was found.

    Args:
        tell: for what people read: the table, and what cannot be measured here.

    Raises:
        InputError: a fault of the input, or a study of something else.
        UnservedError: a limit on a latency that cannot be measured on this machine.
        BudgetError: no point keeps the budget; the nearest ones are named.
    """
    plan = _checked(plan, tell)
    if isinstance(plan.source, Source):
        plan = replace(plan, source=with_example(plan.source, plan.recipe, plan.target))
    # One that exists is checked before the work; a new one is not made before the model is known to export.
    study = _open(plan) if "://" in plan.place or Path(plan.place).exists() else None
    with ExitStack() as stack:
        stack.enter_context(explained(plan.place))
        with progress.step("FP32 and sensitivity", {}):
            one = stack.enter_context(_baseline(plan))
        study = study or _open(plan)
        trials = _trials(plan, study, one)
        _search(plan, study, trials, progress)
        if not plan.conclude:
            return Tuned(results=tuple(study.results()), best=())
        return conclude(plan, study, trials, progress, tell, command)


def _baseline(plan: Plan) -> AbstractContextManager[Baseline | TextBaseline]:
    if isinstance(plan.source, DecoderSource):
        return text_baseline(plan.source, plan.target, plan.recipe, untimed(plan.target, plan.recipe))
    has_int8 = _has_data(plan) and any(plan.recipe.precision in ("auto", name) for name in plan.target.integers)
    return baseline(plan.source, plan.target, plan.recipe, Progress(), has_int8=has_int8, checkpoint=plan.trained)


def _has_data(plan: Plan) -> bool:
    own = plan.source.calibration if isinstance(plan.source, Source) else None
    return any(data is not None for data in (plan.recipe.calibration, plan.recipe.statistics, own))


def _trials(plan: Plan, study: Study, one: Baseline | TextBaseline) -> Trials | TextTrials:
    others, directory = partial(study.results, early=True), plan.directory / "trials"
    space, budget = _space(plan, study, one), plan.recipe.budget
    if isinstance(one, TextBaseline):
        return TextTrials(baseline=one, space=space, budget=budget, others=others, directory=directory)
    return Trials(baseline=one, space=space, budget=budget, others=others, directory=directory)


def _checked(plan: Plan, tell: Console) -> Plan:
    """The plan with a limit on the loss, where none was given and there is a metric; refused where it cannot be met."""
    load_backend(plan.target.backend).require(plan.target)
    if plan.conclude:
        check_destination(plan.output / plan.name, force=plan.force)
    if why := untimed(plan.target, plan.recipe):
        if asked := [*plan.recipe.budget.latencies, *_speeds(plan)]:
            raise UnservedError(
                f"A latency of {asked[0]} cannot be searched for here: {why}.",
                hint="Run it on the device, or leave out --max-latency to search for size and quality alone.",
            )
        tell.print(f"[yellow]![/] Latency is not measured: {why}. The search is for size and quality alone.")
    if isinstance(plan.source, DecoderSource):
        return _checked_decoder(plan, tell)
    if plan.source.evaluate is None:
        if plan.recipe.budget.drop is not None:
            raise InputError("`max_drop` needs a metric, and the source has no evaluate().")
        tell.print("[yellow]![/] The source has no evaluate(): quality is SQNR against FP32, and nothing is pruned.")
    elif plan.recipe.budget.drop is None:
        tell.print(f"No --max-drop was given: at most {USUAL_DROP} of evaluate() may be lost.")
        usual = plan.recipe.budget.under(Budget(limits={"accuracy_drop": USUAL_DROP}))
        return replace(plan, recipe=replace(plan.recipe, budget=usual))
    return plan


def _checked_decoder(plan: Plan, tell: Console) -> Plan:
    """The plan with a limit on what text loses, where none was given."""
    refuse_settings(plan.recipe)
    if latencies := plan.recipe.budget.latencies:
        raise InputError(
            f"A latency of {latencies[0]} says nothing of a decoder.",
            hint="Give --budget decode=20tok/s, or first_token=500ms.",
        )
    if plan.recipe.budget.rise is not None:
        return plan
    what = "the perplexity" if plan.source.evaluate is None else "evaluate()"
    most = USUAL_RISE if plan.source.evaluate is None else USUAL_DROP
    tell.print(f"No --max-drop was given: at most {most} of {what} may be lost.")
    usual = plan.recipe.budget.under(Budget(limits={"accuracy_drop": most}))
    return replace(plan, recipe=replace(plan.recipe, budget=usual))


def _speeds(plan: Plan) -> list[str]:
    """Limits on a decoder's speed."""
    return [f"{name} {limit}" for name, limit in plan.recipe.budget.limits.items() if name in SPEEDS]


def _open(plan: Plan) -> Study:
    """The study of this model, target, data and fixed settings."""
    settings = replace(plan.recipe, budget=Budget(), workers=1, measure=True)
    identity = {
        "model": plan.source.digest,
        "target": _digest(json.dumps(to_jsonable_python(plan.target), sort_keys=True)),
        "calibration": _data_identity(plan.recipe),
        "objectives": "size, loss" if untimed(plan.target, plan.recipe) else "latency, size, loss",
        "recipe": _digest(dump_recipe(replace(settings, calibration=None, statistics=None, contact_sheet=None))),
    }
    objectives = identity["objectives"].count(",") + 1
    return open_study(plan.place, plan.study or plan.name, identity, objectives=objectives, seed=plan.recipe.seed)


def _data_identity(recipe: Recipe) -> str:
    """Digest of the data's bytes; those of calibration() belong to the model."""
    path = recipe.calibration or recipe.statistics
    if path is None:
        return "calibration()"
    files = [f for f in sorted(Path(path).rglob("*")) if f.is_file()] if Path(path).is_dir() else [Path(path)]
    return _digest("".join(sha256(file) for file in files if file.is_file()))


def _space(plan: Plan, study: Study, one: Baseline | TextBaseline) -> Space:
    """The open settings, which all processes of the study must have in common."""
    if isinstance(one, TextBaseline):
        space = text_space(plan.target, one.base)
    else:
        space = space_of(
            one.source,
            plan.target,
            one.base,
            ranking=study.agreed("ranking", list(one.ranking)),
            cores=usable_cores(),
            has_data=_has_data(plan),
            timed=one.timed,
        )
    mine = {dimension.name: list(dimension.values) for dimension in space.dimensions}
    if (theirs := study.agreed("space", mine)) != mine:
        differ = ", ".join(name for name in sorted(mine | theirs) if mine.get(name) != theirs.get(name))
        raise InputError(
            f"The study was begun with other choices of {differ}: by another version, or with other cores.",
            hint="Use machines of one kind, fix --threads, or give another --storage.",
        )
    return space


def _search(plan: Plan, study: Study, trials: Trials | TextTrials, progress: Progress) -> None:
    """Trials until there are enough, the time is over, or nothing is left to try."""
    trials.clear(study.recover())
    study.queue(trials.space.anchors())
    timed, start = trials.baseline.timed, time.monotonic()
    with progress.step(f"{plan.trials} trials", {}) as advance:
        while (finished := study.finished()) < plan.trials:
            if plan.timeout is not None and time.monotonic() - start > plan.timeout:
                break
            best = front(study.results(), timed=timed)
            advance(finished / plan.trials, f"{finished} done, {len(best)} on the front")
            if not study.run(trials.space, trials.run, lambda result: result.values(timed=timed)):
                break
            trials.keep([result.number for result in front(study.results(), timed=timed)])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
