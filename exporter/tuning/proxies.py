"""Cheap signs that a point cannot meet the budget, looked for after each stage of a trial."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from ...profiles.budget.budget import Budget
from ...profiles.budget.limits import SizeLimit
from ...profiles.device.precision import load_precision
from ...profiles.findings.parity import worst
from ...profiles.timing.measure import Settings, measure
from ...profiles.timing.ratio import speedup
from ..candidates.candidate import Candidate
from ..capture.capture import capture
from ..draft import Draft
from ..recipe import Recipe
from .baseline import Baseline
from .result import Result

if TYPE_CHECKING:
    from torch import nn

# How far beyond a limit a point must be seen to be before it is given up: near misses are worth their figures, as the
# nearest points to a budget that nothing meets.
SLACK = 1.5
# SQNR below that of a point which lost too much, with the same pruning: it will lose too much as well.
MARGIN_DB = 3.0
GLANCE = Settings(warmup_seconds=0.1, warmup_count=5, seconds=0.3, samples=20, slice_seconds=0.05, cap=1.0)


class GivenUpError(Exception):
    """The point cannot meet the budget; carries what was found of it."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.early)
        self.result = result


@dataclass(slots=True)
class TrialWatch:
    """Looks at a trial's draft after each stage; what was found of it so far is in `result`.

    Attributes:
        others: what finished trials found.
    """

    baseline: Baseline
    budget: Budget
    others: Callable[[], Sequence[Result]]
    result: Result
    looked: bool = False

    def __call__(self, draft: Draft) -> None:
        """Take down what the stage found.

        Raises:
            GivenUpError: it shows that the point cannot meet the budget.
        """
        self._give_up(self._weights(draft) or self._float_latency(draft))

    def candidate(self, candidate: Candidate) -> None:
        """Take down what is known of a candidate by now.

        Raises:
            GivenUpError: it shows that the point cannot meet the budget.
        """
        self.result = _with_figures(self.result, candidate, self.baseline)
        self._give_up(self._size() or self._agreement() or self._loss())

    def _give_up(self, reason: str) -> None:
        if reason:
            raise GivenUpError(replace(self.result, early=reason))

    def expect(self, recipe: Recipe) -> None:
        """Before the trial begins: what the weights will take, if pruning takes the same share of them as of the MACs.

        Raises:
            GivenUpError: that is too much.
        """
        left = 1 - (recipe.prune or 0.0)
        expected = _weights(self.baseline.source.module, recipe.precision) * left
        if self.budget.size is not None and expected > SLACK * self.budget.size.bytes:
            reason = f"about {SizeLimit(bytes=round(expected / 1000) * 1000)} of weights are to be expected"
            raise GivenUpError(replace(self.result, early=reason))

    def _weights(self, draft: Draft) -> str:
        """Before anything is trained, captured or compiled: what the weights alone will take."""
        limit = self.budget.size
        if limit is None or draft.captured is not None:
            return ""
        least = _weights(draft.source.module, draft.recipe.precision)
        return f"its weights alone take {SizeLimit(bytes=int(least))}" if least > SLACK * limit.bytes else ""

    def _size(self) -> str:
        limit, size = self.budget.size, self.result.size
        if limit is None or size is None or size <= SLACK * limit.bytes:
            return ""
        return f"it takes {SizeLimit(bytes=size)}"

    def _float_latency(self, draft: Draft) -> str:
        """Where the model was changed, before it is trained: how fast it is in FP32, times what the precision gains."""
        limits = self.budget.latencies
        if not limits or self.looked or draft.original is None or self.baseline.untimed:
            return ""
        timed = [r for r in self.others() if r.faster is not None and r.reference is not None]
        plain = [r for r in timed if not r.point.get("prune") and r.point["precision"] == draft.recipe.precision]
        if not plain:
            return ""
        self.looked = True
        gain = max(1.0, *(r.faster.value for r in plain if r.faster is not None))
        level = median(r.reference for r in timed if r.reference is not None)
        expected = level / (_glance(draft, self.baseline) * gain)
        # Every percentile from the median on is at least the median.
        if expected <= SLACK * min(limit.ms for limit in limits):
            return ""
        return f"about {expected:.3g} ms are to be expected: its FP32 latency over the gain of {draft.recipe.precision}"

    def _agreement(self) -> str:
        limit, sqnr, before = self.budget.drop, self.result.sqnr_db, self.baseline.metric
        if limit is None or sqnr is None or before is None or self.result.metric is not None:
            return ""
        alike = (r for r in self.others() if r.point.get("prune") == self.result.point.get("prune"))
        failed = [
            r.sqnr_db
            for r in alike
            if r.sqnr_db is not None and r.metric is not None and not limit.allows(before, r.metric)
        ]
        if not failed or sqnr > max(failed) - MARGIN_DB:
            return ""
        return f"{sqnr:.1f} dB of SQNR, and {max(failed):.1f} dB lost too much already"

    def _loss(self) -> str:
        limit, metric, before = self.budget.drop, self.result.metric, self.baseline.metric
        if limit is None or metric is None or before is None:
            return ""
        beyond = before - metric > 2 * max(limit.allowed(before), 0.01 * abs(before))
        return f"it loses {before - metric:.4g}" if beyond else ""


def _weights(module: nn.Module | None, precision: str) -> float:
    """Bytes that the weights take in an engine at least; 0 where they are not known.

    Args:
        precision: a trial's, which is never left open.
    """
    count = 0 if module is None else sum(p.numel() for p in module.parameters())
    return load_precision(precision).weight_bits / 8 * count


def _with_figures(result: Result, candidate: Candidate, baseline: Baseline) -> Result:
    """The result with what the candidate has by now."""
    result = replace(result, size=candidate.weights if candidate.size is None else candidate.size)
    if candidate.parity:
        sqnr = worst(candidate.parity).weakest_db
        result = replace(result, sqnr_db=sqnr, loss=-sqnr if baseline.metric is None else result.loss)
    if candidate.task is not None and baseline.metric is not None:
        result = replace(result, metric=candidate.task.after, loss=baseline.metric - candidate.task.after)
    return result


def _glance(draft: Draft, given: Baseline) -> float:
    """How many times faster the draft's module is than the model as given, both in FP32; it may be untrained."""
    with tempfile.TemporaryDirectory(dir=draft.workshop.scratch) as directory:
        graph = capture(draft.source, draft.target.opset, Path(directory) / "model.onnx", draft.axes)
        place = draft.workshop.place
        (Path(directory) / "engine").mkdir()
        engine = place.compile(graph, draft.target, Path(directory) / "engine", "fp32")
        with place.open(engine, draft.workshop.threads) as session, given.open() as reference:
            found = measure({"this": session.arm(given.feed), "given": reference.arm(given.feed)}, GLANCE)
    return speedup(found["given"], found["this"]).value
