"""What each rung of the ladder wins back, and what it takes: `python scripts/bench/ladder.py`.

The MobileNet of examples/fashion.py, with weights of so few bits that calibrated integers lose points, on the target
`server-cpu`. The integers of 8 bits are there, so that the kernels are those of int8: only their values are fewer.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models import ROOT
from sections import table, write_section

from edgepress.backends.registry import tool_versions
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.bundle.samples import load_samples
from edgepress.exporter.pipeline import export_bundles
from edgepress.exporter.progress import Progress
from edgepress.exporter.recipe import Recipe, TrainingSettings
from edgepress.exporter.sources import Source, load_source
from edgepress.profiles.budget.budget import Budget
from edgepress.profiles.device.target import Target, load_target
from edgepress.profiles.findings.ladder import LadderStep
from edgepress.profiles.findings.report import Report, latency_text
from edgepress.profiles.machine.environment import this_machine
from edgepress.profiles.timing.measurement import Measurement
from edgepress.profiles.timing.ratio import speedup

MODEL, TARGET = "fashion", "server-cpu"
# So little may be lost that every rung is climbed.
DROP = "0.0001"
PICTURES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Weights of few bits, with or without lifts."""

    title: str
    grid: dict[str, Any]
    lifts: tuple[str, ...] | None = None


CASES = (
    Case(title="one scale a tensor, 4 bits, no lifts", grid={"granularity": "tensor", "used": 4}, lifts=()),
    Case(title="one scale a channel, 3 bits", grid={"used": 3}),
)


def main() -> None:
    """Write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2, help="of quantization-aware training")
    parser.add_argument("--batches", type=int, default=150, help="of 128 pictures, in an epoch; 469 are all")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--only", type=int, help="one of the cases, printed and not written")
    asked = parser.parse_args()
    whole = load_source(str(ROOT / "examples" / f"{MODEL}.py"))
    source = replace(whole, training=lambda epoch=0: _some(whole, epoch, asked.batches))
    training = TrainingSettings(epochs=asked.epochs, learning_rate=asked.learning_rate)
    tools = ", ".join(f"{tool} {version}" for tool, version in tool_versions().items())
    lines = [
        "## The ladder: a MobileNet with weights of few bits",
        "",
        f"`examples/{MODEL}.py`, {PICTURES:,} held-out pictures, target `{TARGET}` with another grid of weights in its",
        "scheme; `wins back` is of what int8 as calibrated loses. Latencies are of one batch of 8, p50 with its 95 %",
        f"interval, in turns of fresh processes. Training is {asked.epochs} epochs of {asked.batches * 128:,}",
        "pictures, the best epoch chosen by the held-out ones, so that it is seen a little too well. `took` is wall",
        "time.",
        f"`python scripts/bench/ladder.py`, {this_machine()}; {tools}.",
    ]
    cases = CASES if asked.only is None else CASES[asked.only : asked.only + 1]
    for case in cases:
        lines += ["", *_ran(case, source, training)]
        print("\n".join(lines[-12:]), flush=True)
    if asked.only is None:
        write_section("ladder", lines, ROOT / "docs" / "benchmarks-ladder.md")


def _some(source: Source, epoch: int, batches: int) -> Iterator[Any]:
    assert source.training is not None
    return itertools.islice(iter(source.training(epoch)), batches)


def _ran(case: Case, source: Source, training: TrainingSettings) -> list[str]:
    recipe = Recipe(
        precision="int8",
        lifts=case.lifts,
        rungs=("rounding", "qat"),
        training=training,
        budget=Budget.parse({"accuracy_drop": DROP}),
    )
    with tempfile.TemporaryDirectory() as directory:
        (bundle,) = export_bundles(
            source,
            [_target(case)],
            recipe,
            lambda target: Path(directory) / target.name,
            Progress(),
            force=True,
            command="",
        )
        report = load_report(bundle.path)
        samples = load_samples(bundle.path, report.latency)
    assert report.ladder is not None and report.ladder.before is not None
    ground, before = report.ladder.steps[0], report.ladder.before
    assert ground.metric is not None
    rows = [("FP32", f"{100 * before:.2f} %", "", "", _latency(report, "fp32"), "", "")]
    rows += [_row(step, ground, before, report, samples) for step in report.ladder.steps]
    head = ("", "accuracy", "wins back", "SQNR, dB", "latency", "as fast as plain int8", "took")
    lost = 100 * (before - ground.metric)
    return [f"**{case.title}**: int8 loses {lost:.2f} points.", "", table(head, rows)]


def _row(
    step: LadderStep, ground: LadderStep, before: float, report: Report, samples: Mapping[str, Measurement]
) -> tuple[str, ...]:
    if step.metric is None or step.sqnr_db is None or ground.metric is None:
        return step.title, "not made", "", "", "", "", step.said
    won = "" if step is ground else f"{(step.metric - ground.metric) / (before - ground.metric):.0%}"
    arm, plain = ("engine" if one.shipped else one.arm for one in (step, ground))
    faster = "" if step is ground or arm not in samples else f"{speedup(samples[plain], samples[arm])}"
    figures = f"{100 * step.metric:.2f} %", won, f"{step.sqnr_db:.1f}", _latency(report, arm), faster
    return step.title, *figures, f"{step.seconds:.0f} s"


def _latency(report: Report, arm: str) -> str:
    return latency_text(report.latency[arm], 50) if arm in report.latency else "not measured"


def _target(case: Case) -> Target:
    found = load_target(TARGET)
    assert found.scheme is not None
    weight = replace(found.scheme.weight, **case.grid)
    return replace(found, scheme=replace(found.scheme, name=f"{found.scheme.name}-few-bits", weight=weight))


if __name__ == "__main__":
    main()
