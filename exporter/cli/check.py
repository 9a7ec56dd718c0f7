"""`edgepress check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .gate_options import asked_gate, gate_options
from .options import budget_option, quiet_option

if TYPE_CHECKING:
    from ..gate.run import Gate


@click.command(no_args_is_help=True)
@click.argument("subjects", metavar="BUNDLE|PROFILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@budget_option
@gate_options
@click.option(
    "--measure/--no-measure", default=True, show_default=True, help="Compare latencies with the baseline anew."
)
@quiet_option
def command(subjects: tuple[Path, ...], measure: bool, quiet: bool, **_options: Any) -> None:
    """Judge what was measured before: bundles, or files that `edgepress profile --output` wrote.

    A bundle is judged by the budget it was exported with, and by --budget, which is stronger; its manifest.json stands
    for it. Nothing is exported or changed; only against a --baseline latencies are measured anew.

    \b
    Example:
      edgepress check dist/model-cpu --budget size=4MB --baseline previous
    """  # noqa: D301
    gate = asked_gate({}, measure=measure)
    with gate.watched():
        for path in subjects:
            _judge(gate, path)
        if not quiet:
            for outcome in gate.outcomes:
                click.echo(outcome.title)
                for one in outcome.verdicts:
                    click.echo(f"  {one.what}: {one.said}")


def _judge(gate: Gate, path: Path) -> None:
    """Tell the gate of one file; its outcome goes by its name, or by its path where another one has that name."""
    from ...profiles.budget.budget import Budget
    from ...profiles.findings.profile import load_profile
    from ..bundle.manifest import MANIFEST, check_files, load_bundle
    from ..gate.outcome import of_measurement

    path = path.parent if path.name == MANIFEST else path
    name = path.resolve().name
    name = str(path) if name in gate.targets else name
    if path.suffix.lower() == ".json" and not path.is_dir():
        profile = load_profile(path)
        gate.targets = {**gate.targets, name: profile.measured.target}
        gate.outcomes.append(of_measurement(name, path, profile, gate.limits))
        return
    gate.targets = {**gate.targets, name: ""}
    bundle = load_bundle(path)
    check_files(bundle)
    target = bundle.manifest.target.name
    if gate.baselines is not None:
        gate.baselines.check({target: path})
    gate.targets = {**gate.targets, name: target}
    gate.made[name] = bundle
    gate.judge(name, {**Budget.of(bundle.manifest.recipe).limits, **gate.limits})
