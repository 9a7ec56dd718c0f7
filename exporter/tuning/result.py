"""What a trial found, as it is stored with the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from pydantic import TypeAdapter

from ...profiles.budget.budget import Budget
from ...profiles.findings.files import jsonable
from ...profiles.findings.point import Value
from ...profiles.timing.measurement import Interval
from ...profiles.timing.ratio import Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Figures of one point; None where one was not measured, or not any more since the trial was given up early.

    Attributes:
        number: of the trial.
        point: the settings.
        size: bytes of the engine, or of `model.onnx`'s weights where no engine is built here.
        loss: of the user's metric against the model as given, or, without one, minus the SQNR in dB.
        metric: the user's metric.
        sqnr_db: of the engine against its own float graph, on golden inputs.
        latency: milliseconds of one inference, by percentile, with intervals.
        reference: median milliseconds of the FP32 engine of the model as given, measured in turn with it.
        faster: how many times faster than that.
        seconds: wall time of the trial.
        machine: where it was measured.
        early: why it was given up before it was measured to the end; empty where it was not.
        perplexity: of a decoder's engine, and `before` of FP32. The loss is then its rise in nats a token, unless
            there is a metric, and the latency that of one token behind the shortest prompt.
        figures: of a decoder, by the names of a budget.
    """

    number: int
    point: Mapping[str, Value]
    size: int | None = None
    loss: float | None = None
    metric: float | None = None
    sqnr_db: float | None = None
    latency: Mapping[int, Interval] | None = None
    reference: float | None = None
    faster: Ratio | None = None
    seconds: float = 0.0
    machine: str = ""
    early: str = ""
    perplexity: float | None = None
    before: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    def values(self, *, timed: bool) -> tuple[float, ...]:
        """What is minimised: latency relative to the FP32 engine, where it is measured, then size, then loss."""
        assert self.size is not None and self.loss is not None
        rest = (float(self.size), self.loss)
        if not timed:
            return rest
        assert self.faster is not None
        return (1 / self.faster.value, *rest)

    def excess(self, budget: Budget, before: float | None) -> dict[str, float]:
        """By how much each limit is missed, as a share of the limit; 0 where kept, nothing where it is not known.

        Args:
            before: the user's metric of the model as given.
        """
        found: dict[str, float] = {}
        latency = self.latency or {}
        timed = [latency[one.percentile].value / one.ms for one in budget.latencies if one.percentile in latency]
        if timed:
            found["latency"] = max(timed) - 1
        if budget.size is not None and self.size is not None:
            found["size"] = self.size / budget.size.bytes - 1
        if budget.drop is not None and self.metric is not None and before is not None:
            allowed = budget.drop.allowed(before)
            beyond = 0.0 if budget.drop.allows(before, self.metric) else before - self.metric - allowed
            found["drop"] = beyond / max(allowed, 0.01 * abs(before), 1e-9)  # a limit of 0 has no share
        found |= self._beyond(budget)
        return {what: max(0.0, share) for what, share in found.items()}

    def _beyond(self, budget: Budget) -> dict[str, float]:
        """The same of limits that only a decoder's figures are held to, as shares of the limit; negative where kept."""
        found: dict[str, float] = {}
        for name, limit in budget.limits.items():
            if name == "size" or (name == "accuracy_drop" and self.metric is not None) or name not in self.figures:
                continue
            value, bound = self.figures[name], max(limit.bound(self.before), 1e-9)
            found[name] = bound / max(value, 1e-9) - 1 if limit.least else value / bound - 1
        return found

    def dump(self) -> dict[str, object]:
        """As JSON values."""
        data: dict[str, object] = jsonable(self)
        return data


def levelled(results: Sequence[Result]) -> list[Result]:
    """The results with latencies as if all were measured at one time.

    A machine is slower at one time than at another, for all engines alike. What a trial compares is the ratio to the
    FP32 engine; times the median of that engine over all trials on the machine, trials compare with each other.
    """
    level = {
        machine: median(r.reference for r in results if r.machine == machine and r.reference is not None)
        for machine in {r.machine for r in results if r.reference is not None}
    }
    return [result if result.reference is None else _at(result, level[result.machine]) for result in results]


def _at(result: Result, level: float) -> Result:
    """The result with the latencies it would have where the FP32 engine takes `level` milliseconds."""
    assert result.reference is not None and result.faster is not None
    share, faster = level / result.reference, result.faster
    found = {
        p: Interval(value=i.value * share, low=i.low * share, high=i.high * share)
        for p, i in (result.latency or {}).items()
    }
    found[50] = Interval(value=level / faster.value, low=level / faster.high, high=level / faster.low)
    return replace(result, latency=found, reference=level)


def load_result(data: object) -> Result:
    """What `Result.dump` gave."""
    return _ADAPTER.validate_python(data)


_ADAPTER: TypeAdapter[Result] = TypeAdapter(Result)
