"""The end of a search: what was found is shown, and the cheapest point that keeps the budget is exported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ...errors import BudgetError
from ...profiles.budget.budget import Budget
from ...profiles.budget.verdict import in_words as limit_in_words
from ...profiles.findings.point import in_words
from ...profiles.machine.environment import now
from ...profiles.machine.given import as_typed
from ...profiles.reporting.render import rendered
from ..bundle.manifest import Bundle
from ..bundle.reportables import load_reportable
from ..bundle.seal import load_report
from ..pipeline import export_bundles
from ..progress import Progress
from ..recipe import Recipe
from ..recipe_file import dump_recipe
from .choice import front, nearest, within
from .plan import Plan, Tuned
from .result import Result, levelled
from .show import plot, table
from .study import Study
from .text_trials import TextTrials
from .trial import Trials

# Of the points that keep the budget in their trials, how many are exported and measured before none is left.
CANDIDATES = 3


def conclude(
    plan: Plan, study: Study, trials: Trials | TextTrials, progress: Progress, tell: Console, command: str
) -> Tuned:
    """Show the front, and export the cheapest point that keeps the budget, also when it is measured for longer.

    Raises:
        BudgetError: there is none.
    """
    timed, before, budget = trials.baseline.timed, trials.baseline.metric, plan.recipe.budget
    results = levelled(study.results())
    best = front(results, timed=timed)
    candidates = within(best, budget, before, timed=timed)[:CANDIDATES]
    missed: list[str] = []
    for index, candidate in enumerate(candidates):
        recipe = trials.space.recipe(plan.recipe, candidate.point)
        bundle = _export(plan, recipe, progress, force=plan.force or index > 0, command=command)
        verdicts = [v for v in load_report(bundle.path).budget if v.status == "missed"]
        if not verdicts:
            return _found(plan, results, best, candidate, recipe, bundle, tell)
        said = "; ".join(f"{v.what}: {v.said}" for v in verdicts)
        missed.append(
            f"{in_words(candidate.point)}, exported to {as_typed(bundle.path)} and measured for longer: {said}."
        )
    _show(plan, results, best, None, tell)
    near = nearest(levelled(study.results(early=True)), budget, before)
    tell.print(table("Nearest points", near))
    raise BudgetError(
        "\n".join(
            [
                f"None of {study.finished()} points keeps the budget ({_asked(budget)}).",
                *missed,
                *_misses(near, plan, before),
            ]
        ),
        hint="Raise a limit, give more --trials, or let more be searched (training(), calibration() and evaluate()).",
    )


def _export(plan: Plan, recipe: Recipe, progress: Progress, *, force: bool, command: str) -> Bundle:
    (bundle,) = export_bundles(
        plan.source,
        [plan.target],
        recipe,
        lambda target: plan.output / plan.name,
        progress,
        force=force,
        command=command,
        checkpoint=plan.trained,
    )
    return bundle


def _found(
    plan: Plan,
    results: Sequence[Result],
    best: Sequence[Result],
    chosen: Result,
    recipe: Recipe,
    bundle: Bundle,
    tell: Console,
) -> Tuned:
    file = plan.directory / "recipe.toml"
    pruning = load_report(bundle.path).pruning
    recipe = recipe if pruning is None else replace(recipe, pruned=pruning.widths)
    file.write_text(dump_recipe(recipe), encoding="utf-8")
    plots = _show(plan, results, best, chosen, tell)
    page = plan.directory / "report.html"
    page.write_text(rendered([load_reportable(bundle.path, plan.directory)], "html", now()), encoding="utf-8")
    return Tuned(
        results=tuple(results),
        best=tuple(best),
        chosen=chosen,
        recipe=file,
        bundle=bundle,
        plots=tuple(plots),
        page=page,
    )


def _show(
    plan: Plan, results: Sequence[Result], best: Sequence[Result], chosen: Result | None, tell: Console
) -> list[Path]:
    """The front on the terminal, everything in `results.json` and in the plot."""
    if not results:
        return []
    title = f"{plan.source.name} for {plan.target.name}: {len(best)} of {len(results)} points on the Pareto front"
    tell.print(table(title, sorted(best, key=lambda r: r.size or 0), chosen))
    data = {
        "results": [result.dump() for result in results],
        "front": [result.number for result in best],
        "chosen": None if chosen is None else chosen.number,
    }
    (plan.directory / "results.json").write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return plot(plan.directory / "pareto.svg", title, results, best, chosen, plan.recipe.budget)


def _asked(budget: Budget) -> str:
    return ", ".join(f"{name} {limit_in_words(limit)}" for name, limit in budget.limits.items()) or "nothing was asked"


def _misses(near: Sequence[Result], plan: Plan, before: float | None) -> list[str]:
    def by(result: Result) -> str:
        excess = result.excess(plan.recipe.budget, before)
        return ", ".join(f"{what} by {share:.0%}" for what, share in excess.items() if share) or result.early

    return [f"Nearest: {in_words(result.point)}: misses {by(result)}." for result in near]
