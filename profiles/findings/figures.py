"""What was measured of an engine, as the figures that a budget is held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..budget.budget import Budget
from ..budget.figure import UNITS, Figure
from ..budget.limits import PERCENTILES
from ..budget.verdict import Verdict, verdicts
from ..device.precision import SHIPPED
from ..timing.measurement import PERCENTILES as FEWEST
from .gap import About
from .language import Language, Median
from .profile import Profile
from .report import Report

# What a decoder alone has.
DECODING = ("prefill", "decode", "first_token", "perplexity_rise")


def of_report(report: Report) -> dict[str, Figure | str]:
    """Every figure of an export, or why there is none, a clause."""
    absent = {name: _absent(report, name) for name in UNITS}
    return {**absent, **dict(_of_report(report))}


def of_profile(profile: Profile) -> dict[str, Figure | str]:
    """Every figure of a measurement, or why there is none, a clause."""
    absent = dict.fromkeys(UNITS, "a profile does not tell; give a bundle")
    if profile.language is None:
        absent |= dict.fromkeys(DECODING, "it is no decoder")
    named = {"latency": "single-stream", "memory": "single-stream", "throughput": "offline"}
    for name in UNITS:
        if scenario := named.get(name.partition("_")[0]):
            absent[name] = f"{scenario}: {profile.missing.get(scenario, profile.unfinished or 'it was not measured')}"
    return {**absent, **dict(_of_profile(profile))}


def judge(budget: Budget, report: Report) -> tuple[Verdict, ...]:
    """One verdict for each limit of the budget."""
    return tuple(verdicts(budget.limits, of_report(report)))


def _of_report(report: Report) -> Iterator[tuple[str, Figure | str]]:
    if SHIPPED in report.latency:
        found = report.latency[SHIPPED]
        disturbed = [gap.subject for gap in report.missing if gap.about == "disturbed"]
        unsteady = "" if found.stable else "; ".join(disturbed) or _unsteady(found.waited)
        for p in PERCENTILES:
            if (interval := found.intervals.get(p)) is None:
                yield f"latency_p{p}", _too_few(p, found.samples)
            else:
                yield f"latency_p{p}", _milliseconds(interval.value, interval.low, interval.high, unsteady)
        if report.faster is not None:
            ratio = report.faster
            why = "" if report.steady else unsteady or "the FP32 engine reached no steady state"
            yield "speedup", Figure(value=ratio.value, low=ratio.low, high=ratio.high, unit="x", unsteady=why)
    if report.sizes.engine is not None:
        yield "size", Figure.exact(report.sizes.engine, "bytes")
    if report.task is not None:
        yield "accuracy", Figure.exact(report.task.after)
        yield "accuracy_drop", Figure.exact(report.task.before - report.task.after, before=report.task.before)
    if report.language is not None:
        yield from _of_language(report.language, has_metric=report.task is not None)
    if report.coverage is not None:
        yield "coverage", Figure.exact(report.coverage.share, "share")


def _of_profile(profile: Profile) -> Iterator[tuple[str, Figure | str]]:
    unsteady = "" if profile.stable else profile.unfinished or "; ".join(profile.disturbed) or _unsteady(None)
    for run in profile.single_stream[:1]:
        for p in PERCENTILES:
            interval = run.interval(p)
            few = _too_few(p, len(run.samples))
            yield (
                f"latency_p{p}",
                few if interval is None else _milliseconds(interval.value, interval.low, interval.high, unsteady),
            )
    if profile.memory is not None and profile.memory.peak:
        yield "memory", Figure.exact(profile.memory.peak, "bytes")
    if profile.offline:
        best = max(profile.offline, key=lambda one: one.rate)
        low, high = best.interval()
        yield "throughput", Figure(value=best.rate, low=low, high=high, unit="/s", unsteady=unsteady)
    if profile.size is not None:
        yield "size", Figure.exact(profile.size.total, "bytes")
    if profile.language is not None:
        yield from _of_language(profile.language, has_metric=False)


def _of_language(found: Language, *, has_metric: bool) -> Iterator[tuple[str, Figure | str]]:
    """Those of a decoder. Where it has no metric, its perplexity is what may not get worse."""
    if (speed := found.speed) is not None:
        yield "decode", _median(speed.slowest.decode, "tok/s", speed.unsteady)
        slowest = min((one.prefill for one in speed.depths), key=lambda one: one.value)
        yield "prefill", _median(slowest, "tok/s", speed.unsteady)
        yield "first_token", _median(speed.depths[0].first_token, "ms", speed.unsteady)
    if found.memory is not None and found.memory.peak:
        yield "memory", Figure.exact(found.memory.peak, "bytes")
    if (parity := found.parity) is not None:
        rise = parity.rise
        figure = Figure(value=rise.value, low=rise.low, high=rise.high, before=parity.before, rises=True)
        yield "perplexity_rise", figure
        if not has_metric:
            yield "accuracy_drop", figure


def _median(found: Median, unit: str, unsteady: str) -> Figure:
    return Figure(value=found.value, low=found.low, high=found.high, unit=unit, unsteady=unsteady)


def _milliseconds(value: float, low: float, high: float, unsteady: str) -> Figure:
    return Figure(value=value, low=low, high=high, unit="ms", unsteady=unsteady)


def _unsteady(waited: float | None) -> str:
    if waited is not None and waited > 0:
        return f"no steady state was reached; the threads waited {waited:.0%} of their time for a core"
    return "no steady state was reached"


def _too_few(p: int, samples: int) -> str:
    return f"{samples} samples do not carry p{p}, which takes {FEWEST[p]}"


def _absent(report: Report, name: str) -> str:
    """Why an export has no such figure."""
    usual = {
        "accuracy": "there is no task metric",
        "latency": "Latency was not measured.",
        "size": "the engine is not built here",
        "coverage": f"the engine is {report.precision}, not int8",
        "speedup": "there is no FP32 engine beside it",
        "memory": "an export does not measure it; `edgepress profile -o FILE` and `edgepress check FILE` do",
        "throughput": "an export does not measure it; `edgepress profile -o FILE` and `edgepress check FILE` do",
    }
    told: Mapping[str, About] = {
        "accuracy": "task",
        "latency": "latency",
        "speedup": "latency",
        "coverage": "coverage",
    }
    if name in DECODING:
        return _absent_of_decoder(report, name)
    kind = name.partition("_")[0]
    why = report.why_no(told[kind]) if kind in told else ""
    return (why or usual[kind]).rstrip(".")


def _absent_of_decoder(report: Report, name: str) -> str:
    if report.language is None:
        return f"{report.model} is no decoder"
    part = "parity" if name == "perplexity_rise" else "speed"
    return report.language.missing.get(part, "it was not measured").rstrip(".")
