"""A new bundle against its baseline: engines that run against each other, and what was measured before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import edgepress
from edgepress.exporter.bundle.seal import load_report
from edgepress.exporter.gate.against import Against, judged_latency, stored_outcome
from edgepress.profiles.budget.limits import Allowance
from edgepress.profiles.timing.measurement import Latency, Measurement
from edgepress.profiles.timing.ratio import Ratio
from edgepress.profiles.timing.turns import LatencyComparison

NONE = Allowance(share=0.0)


class Deep(nn.Module):
    """So many convolutions one after the other."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 16, 3, padding=1)]
        for _ in range(depth):
            layers += [nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]  # type: ignore[list-item]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers(image)
        return scores


def exported(depth: int, place: Path) -> edgepress.Bundle:
    example = {"image": torch.randn(2, 3, 32, 32)}
    return edgepress.export(
        Deep(depth), example, target="server-cpu", precision="fp32", measure=False, threads=1, output=place
    )


def outcome(value: float, low: float, high: float, verdict: str, **more: str) -> LatencyComparison:
    """B against A: a ratio below 1 is slower."""
    ratio = Ratio(value=value, low=low, high=high)
    return LatencyComparison(ratio=ratio, verdict=verdict, processes=5, turns=100, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "allowed", "status"),
    [
        (outcome(0.99, 0.97, 1.01, "no difference shown"), 0.0, "met"),
        (outcome(1.2, 1.1, 1.3, "faster"), 0.0, "met"),
        (outcome(0.9, 0.88, 0.92, "slower"), 0.0, "missed"),
        (outcome(0.9, 0.88, 0.92, "slower"), 0.15, "met"),
        (outcome(0.9, 0.85, 0.97, "slower"), 0.1, "undecided"),
        (outcome(0.9, 0.88, 0.92, "no difference shown", unfinished="it hung"), 0.0, "unstable"),
    ],
)
def test_a_regression_is_claimed_by_the_interval_alone(found: LatencyComparison, allowed: float, status: str) -> None:
    made = judged_latency(found, Allowance(share=allowed))
    assert made.status == status, made.said
    assert ("it hung" in made.said) == bool(found.unfinished)


def measured(ms: float, spread: float) -> Latency:
    rng = np.random.default_rng(0)
    samples = tuple(int(x) for x in ms * 1e6 * rng.lognormal(0, spread, 400))
    return Measurement(samples=samples, rounds=tuple(i // 20 for i in range(400)), stable=True).latency()


def test_what_was_measured_before_is_weaker_and_its_interval_wider(tmp_path: Path) -> None:
    report = load_report(exported(1, tmp_path).path)
    before = replace(report, latency={"engine": measured(1.0, 0.02)})
    slower = stored_outcome(before, replace(report, latency={"engine": measured(1.2, 0.02)}))
    assert slower.verdict == "slower"
    alone = before.latency["engine"].intervals[50]
    assert slower.ratio.high / slower.ratio.low >= (alone.high / alone.low) ** 1.9
    assert "measured before" in judged_latency(slower, NONE).said
    noisy = stored_outcome(
        replace(report, latency={"engine": measured(1.0, 0.6)}),
        replace(report, latency={"engine": measured(1.05, 0.6)}),
    )
    assert judged_latency(noisy, NONE).status == "met"


@pytest.mark.slow
def test_an_engine_with_more_work_is_a_regression_and_one_with_less_is_none(tmp_path: Path) -> None:
    small, large = exported(1, tmp_path / "small"), exported(8, tmp_path / "large")
    for old, new, status in ((small, large, "missed"), (large, small, "met")):
        both = Against.of(old, new, seconds=20.0)
        found = {verdict.what: verdict for verdict, _ in both.verdicts({})}
        assert found["latency_regression"].status == status, found["latency_regression"].said
        assert "weaker" not in found["latency_regression"].said
        assert found["size_regression"].status == status
        assert found["accuracy_regression"].status == "unmeasured"


def test_a_baseline_that_does_not_run_here_is_compared_by_what_was_measured(tmp_path: Path) -> None:
    """Its engine was changed, so that it is not run."""
    old, new = exported(1, tmp_path / "old"), exported(2, tmp_path / "new")
    (old.path / "engine/model.onnx").write_bytes(b"cut")
    both = Against.of(old, new)
    steady = {"engine": measured(1.0, 0.01)}, {"engine": measured(1.5, 0.01)}
    both = replace(both, before=replace(both.before, latency=steady[0]), after=replace(both.after, latency=steady[1]))
    found = {verdict.what: verdict for verdict, _ in both.verdicts({})}["latency_regression"]
    assert found.status == "missed"
    assert "weaker evidence" in found.reason
    assert "not compared anew" in found.reason
    other = replace(both.before, machine=replace(both.before.machine, processor="another"))
    apart = {verdict.what: verdict for verdict, _ in replace(both, before=other).verdicts({})}["latency_regression"]
    assert (apart.status, "another machine" in apart.found) == ("unmeasured", True)
