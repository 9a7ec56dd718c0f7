"""Trials of a real model on a real runtime: what they measure, and what makes them give up early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgepress.errors import InputError
from edgepress.exporter.progress import Progress
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.sources import Source, source_from_object
from edgepress.exporter.tuning.baseline import Baseline, baseline
from edgepress.exporter.tuning.result import Result
from edgepress.exporter.tuning.space import space_of
from edgepress.exporter.tuning.trial import Trials
from edgepress.profiles.budget.budget import Budget
from edgepress.profiles.device.target import load_target
from edgepress.profiles.timing import in_turn, taking_turns

INT8 = {"precision": "int8", "threads": 1, "prune": 0, "ranges": "auto"}
FP32 = {"precision": "fp32", "threads": 1, "prune": 0}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real turns in fresh processes, but no more of them than there must be."""
    monkeypatch.setattr(in_turn, "SECONDS", 1.0)
    monkeypatch.setattr(taking_turns, "_LEAST_SET", 0.2)


def _batches() -> Iterator[dict[str, Any]]:
    for index in range(4):
        yield {"input": np.random.default_rng(index).random((8, 3, 16, 16), dtype=np.float32)}


def _source() -> Source:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 5),
    ).eval()  # fmt: skip
    feed = next(_batches())["input"]
    with torch.no_grad():
        wanted = net(torch.from_numpy(feed)).numpy()

    def evaluate(predict: Callable[[Any], dict[str, Any]]) -> float:
        return 1 - 1000 * float(np.abs(next(iter(predict({"input": feed}).values())) - wanted).mean())

    return source_from_object(
        net, {"input": torch.rand(2, 3, 16, 16)}, name="net", dynamic={"input": {0: "batch"}},
        calibration=_batches, evaluate=evaluate,
    )  # fmt: skip


@pytest.fixture(scope="module")
def given() -> Iterator[Baseline]:
    with baseline(_source(), load_target("cpu"), Recipe(), Progress(), has_int8=True) as one:
        yield one


def _trials(given: Baseline, tmp_path: Path, budget: Budget, others: tuple[Result, ...] = ()) -> Trials:
    space = space_of(given.source, given.target, given.base, ranking=given.ranking, cores=2, has_data=True, timed=True)
    return Trials(baseline=given, space=space, budget=budget, others=lambda: others, directory=tmp_path / "trials")


def test_the_baseline_is_the_model_as_given(given: Baseline) -> None:
    assert given.metric == pytest.approx(1, abs=0.01)
    assert sorted(given.ranking) == sorted(set(given.ranking))
    assert len(given.ranking) == 3
    assert given.timed
    assert given.engine is not None


def test_a_trial_measures_latency_against_the_fp32_engine_size_and_loss(given: Baseline, tmp_path: Path) -> None:
    trials = _trials(given, tmp_path, Budget())
    found = trials.run(3, INT8)
    assert found.early == ""
    assert (found.number, found.point) == (3, INT8)
    assert found.size == sum(f.stat().st_size for f in (trials.bundle(3) / "engine").iterdir())
    assert found.latency is not None
    assert found.latency[50].low <= found.latency[50].value <= found.latency[50].high
    assert found.faster is not None
    assert found.reference is not None
    assert 0.5 < found.faster.value * found.latency[50].value / found.reference < 2
    assert found.metric is not None
    assert found.loss == pytest.approx((given.metric or 0) - found.metric)
    assert found.loss > 0
    assert len(found.values(timed=True)) == 3
    trials.keep([3])
    assert trials.bundle(3).exists()
    replace(trials, others=lambda: (found,)).keep([])
    assert not trials.bundle(3).exists()


@pytest.mark.parametrize(
    ("point", "budget", "reason"),
    [
        (FP32, Budget.parse({"size": "10kB"}), "about 41kB of weights"),
        ({**FP32, "prune": 50}, Budget.parse({"size": "10kB"}), "about 21kB of weights"),
        (INT8, Budget.parse({"size": "12kB"}), "it takes "),
        (INT8, Budget.parse({"accuracy_drop": "0"}), "it loses "),
    ],
)
def test_a_point_far_beyond_a_limit_is_given_up_before_it_is_timed(
    given: Baseline, tmp_path: Path, point: dict[str, Any], budget: Budget, reason: str
) -> None:
    trials = _trials(given, tmp_path, budget)
    found = trials.run(1, point)
    assert found.early.startswith(reason), found
    assert found.latency is None
    assert not trials.bundle(1).exists()
    assert list(trials.directory.iterdir()) == [] if trials.directory.exists() else True


def test_a_point_with_less_agreement_than_one_that_lost_too_much_is_not_evaluated(
    given: Baseline, tmp_path: Path
) -> None:
    lost = Result(number=0, point=INT8, sqnr_db=90.0, metric=0.5, early="it loses 0.5")
    found = _trials(given, tmp_path, Budget.parse({"accuracy_drop": "1%"}), (lost,)).run(1, INT8)
    assert "90.0 dB lost too much already" in found.early
    assert found.metric is None


def test_a_point_that_cannot_be_made_is_a_result_with_the_reason(given: Baseline, tmp_path: Path) -> None:
    strict = replace(given, base=replace(given.base, minimum_sqnr_db=200.0))
    found = _trials(strict, tmp_path, Budget()).run(1, INT8)
    assert "dB" in found.early
    assert found.loss is None


def test_a_model_that_does_not_export_ends_the_search_before_it_begins() -> None:
    def evaluate(predict: object) -> float:
        raise ZeroDivisionError("no data")

    source = replace(_source(), evaluate=evaluate)
    with (
        pytest.raises(InputError, match="no data"),
        baseline(source, load_target("cpu"), Recipe(), Progress(), has_int8=True),
    ):
        pass


def test_a_latency_limit_counts_only_when_it_is_measured(given: Baseline, tmp_path: Path) -> None:
    found = _trials(given, tmp_path, Budget.parse({"latency_p50": "0.001us"})).run(1, FP32)
    assert found.early == ""
    assert found.excess(Budget.parse({"latency_p50": "0.001us"}), given.metric)["latency"] > 1
