"""Profiles and comparisons as plain data with the derived figures, and as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from ...profiles.findings.comparison import Comparison, Side
from ...profiles.findings.files import jsonable
from ...profiles.findings.language import Footprint, Language
from ...profiles.findings.layers import coverage
from ...profiles.findings.profile import ColdStart, Profile
from ...profiles.findings.report import megabytes
from ...profiles.machine.conditions import stolen
from ...profiles.timing.measurement import Latency

_SHOWN_LAYERS = 5


def profile_data(profile: Profile) -> dict[str, Any]:
    """The profile with derived figures instead of raw samples; every value is one that JSON has."""
    data: dict[str, Any] = to_jsonable_python(profile)
    data["single_stream"] = [to_jsonable_python(run.latency()) for run in profile.single_stream]
    for throughput, plain in zip(profile.offline, data["offline"], strict=True):
        low, high = throughput.interval()
        plain |= {"rate": throughput.rate, "low": low, "high": high}
    if profile.cold_start is not None:
        data["cold_start"]["total"] = profile.cold_start.total
    if (language := profile.language) is not None and language.bandwidth is not None:
        data["language"]["bandwidth"] |= {"limit": language.bandwidth.limit, "share": language.bandwidth.share}
    if (language := profile.language) is not None and language.memory is not None:
        data["language"]["memory"]["full"] = language.memory.full
    if profile.energy is not None:
        data["energy"] |= {"joules_per_inference": profile.energy.per_inference, "watts": profile.energy.watts}
    return {**data, "stable": profile.stable}


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """The comparison without raw samples; every value is one that JSON has."""
    data: dict[str, Any] = jsonable(comparison)
    del data["pairs"]
    return {**data, "verdict": comparison.outcome.verdict, "said": str(comparison.outcome)}


def profile_lines(profile: Profile) -> Iterator[str]:
    """What a person wants to read first, line by line."""
    one, setup = profile.measured, profile.setup
    cores = f", bound to core {', '.join(map(str, setup.affinity))}" if setup.affinity else ""
    yield f"{one.name} for {one.target}: {one.precision}, {one.runtime}, {setup.threads} threads{cores}"
    yield f"  input: {', '.join(f'{name} {shape}' for name, shape in one.shapes.items())}"
    if profile.unfinished:
        yield f"  UNFINISHED: {profile.unfinished} What follows was measured before."
    for run in profile.single_stream:
        yield from _latency(run.latency(), profile.mode, run.clock_faults)
    if profile.language is not None:
        yield from _language(profile.language)
    if profile.cold_start is not None:
        yield from _cold(profile.cold_start)
    for point in profile.offline:
        low, high = point.interval()
        crowded = point.streams > setup.threads
        yield (
            f"  offline, batch {point.batch}, {point.streams} streams of {point.threads} threads: "
            f"{point.rate:.0f} [{low:.0f}, {high:.0f}] samples/s"
            f"{f'; on {setup.threads} threads in all they wait for each other' * crowded}"
        )
    yield from _cost(profile)
    yield from _layers(profile)
    yield from _machine(profile)


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """The verdict first, then the two side by side."""
    outcome, setup = comparison.outcome, comparison.setup
    yield f"{outcome}, writing behind the shortest prompt" if comparison.speeds else str(outcome)
    if outcome.weaker:
        yield f"  weaker evidence than an interleaved comparison: {outcome.weaker}"
    if outcome.unfinished:
        yield f"  UNFINISHED, so nothing is claimed: {outcome.unfinished}"
    for name, one in comparison.speeds.items():
        yield f"  {name}: {one.verdict}: {one.ratio}"
    for reason in comparison.forced:
        yield f"  these do not compare, and were compared with --force: {reason}"
    for reason in comparison.disturbed:
        yield f"  disturbed: {reason}"
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        yield from _side(name, side)
    if outcome.turns:
        yield (
            f"  {outcome.processes} fresh processes an arm, {outcome.turns} turns in ABBA order, "
            f"{setup.threads} threads on {len(setup.affinity) or 'all'} cores, {comparison.seconds:.0f} s"
        )


def _side(name: str, side: Side) -> Iterator[str]:
    found = side.latency
    size = "size not measured" if side.size is None else megabytes(side.size)
    yield (
        f"  {name}: {side.measured.name} ({side.measured.precision}, {side.measured.runtime}): p50 {_ms(found.p50)}, "
        f"p90 {_ms(found.p90)}, {found.samples} samples, {size}"
    )
    if side.language is not None and side.language.parity is not None:
        yield f"     perplexity {side.language.parity.said}"
    if side.task is not None:
        yield f"     task metric {side.task.after:.4f} (FP32 {side.task.before:.4f}, by {side.task.how})"
    if side.parity is not None:
        yield f"     parity with FP32, worst output: {side.parity}"
    for what, why in side.absent.items():
        yield f"     no {what}: {why}"


def _latency(found: Latency, mode: str, clock_faults: int) -> Iterator[str]:
    figures = [(name, getattr(found, name.replace(".", "_"))) for name in ("p50", "p90", "p95", "p99", "p99.9")]
    known = ", ".join(f"{name} {_ms(value)}" for name, value in figures if value is not None)
    steady = "" if found.stable else " (unstable: no steady state)"
    yield f"  single stream, {mode}: {known}{steady}"
    for p, interval in found.intervals.items():
        yield f"    p{p} 95 % interval {interval} ms"
    yield (
        f"    min {_ms(found.least)}, mean {_ms(found.mean)}, coefficient of variation {found.variation:.1%}, "
        f"{found.samples} samples, outliers kept: {found.outliers} beyond 1.5 IQR, {found.far_outliers} beyond 3"
    )
    if few := [name for name, value in figures if value is None]:
        yield f"    too few samples for {', '.join(few)}"
    if clock_faults:
        yield f"    the clock went backwards or stood still {clock_faults} times; those inferences have no time"


def _language(found: Language) -> Iterator[str]:
    if (speed := found.speed) is not None:
        unsteady = f" (unstable: {speed.unsteady})" if speed.unsteady else ""
        for one in speed.depths:
            yield (
                f"  behind {one.depth:,} tokens: prefill {one.prefill} tok/s, first token after {one.first_token} ms, "
                f"decode {one.decode} tok/s{unsteady}"
            )
        one = speed.depths[0]
        yield (
            f"    median and 95 % interval of {one.decode.count} runs of {one.written} tokens, "
            f"{speed.processes} fresh processes"
        )
    if (bandwidth := found.bandwidth) is not None:
        yield (
            f"  bandwidth: {bandwidth.machine / 1e9:.1f} GB/s measured ({bandwidth.how}); "
            f"a token reads {megabytes(bandwidth.token)}, computed: at most {bandwidth.limit:.0f} tok/s, of "
            f"which {bandwidth.share:.0%} was reached"
        )
    if found.memory is not None:
        yield from _footprint(found.memory)


def _footprint(memory: Footprint) -> Iterator[str]:
    yield (
        f"  at the full context of {memory.context:,} tokens: {megabytes(memory.full)}, of it "
        f"{megabytes(memory.cache)} keys and values, computed"
    )


def _cold(cold: ColdStart) -> Iterator[str]:
    def median(values: tuple[int, ...]) -> str:
        return _ms(float(np.median(values)) / 1e6)

    yield (
        f"  cold start, median of {len(cold.total)} processes: {median(cold.total)} to the first answer (interpreter "
        f"{median(cold.started)}, imports {median(cold.imported)}, load and compile {median(cold.opened)}, first "
        f"inference {median(cold.first)}); slowest {_ms(max(cold.total) / 1e6)}"
    )


def _cost(profile: Profile) -> Iterator[str]:
    if (memory := profile.memory) is not None:
        yield (
            f"  memory: peak {megabytes(memory.peak)}, steady {megabytes(memory.steady)}, of it "
            f"{megabytes(memory.before)} before the runtime was loaded"
        )
    if (energy := profile.energy) is not None:
        yield (
            f"  energy: {energy.per_inference * 1e3:.3g} mJ an inference, {energy.watts:.3g} W ({energy.source}, "
            f"idle power included)"
        )
    if (size := profile.size) is not None:
        files = ", ".join(f"{name} {megabytes(held)}" for name, held in size.files.items())
        yield f"  size: {megabytes(size.total)} ({files}); weights in the graph {megabytes(size.weights)}"
        for name, held in list(size.layers.items())[:_SHOWN_LAYERS]:
            yield f"    {name}: {megabytes(held)}"


def _layers(profile: Profile) -> Iterator[str]:
    timed = [layer for layer in profile.layers if layer.microseconds is not None]
    total = sum(layer.microseconds or 0.0 for layer in timed)
    if profile.layers:
        yield f"  layers: {len(profile.layers)}, integer kernels {coverage(profile.layers)} of the compute layers"
    slowest = sorted(timed, key=lambda layer: -(layer.microseconds or 0.0))[:_SHOWN_LAYERS]
    for layer in slowest:
        spent = layer.microseconds or 0.0
        share = spent / total if total else 0.0
        yield f"    {layer.name} ({layer.kernel or layer.operator}): {spent:.0f} us, {share:.0%}"


def _machine(profile: Profile) -> Iterator[str]:
    yield f"  machine: {profile.setup.machine}; {profile.setup.machine.system}"
    if profile.before is not None and profile.after is not None:
        before, after = profile.before, profile.after
        clocks = ", ".join(f"{n} {v:.0f} -> {after.clocks.get(n, v):.0f} MHz" for n, v in before.clocks.items())
        heat = ", ".join(f"{n} {v:.0f} -> {after.temperatures.get(n, v):.0f} C" for n, v in before.temperatures.items())
        share = stolen(before, after)
        steal = f"{share:.1%} of processor time taken by the hypervisor" if share else ""
        load = f"load {before.load:.1f} -> {after.load or 0:.1f}" if before.load is not None else ""
        told = (before.governor, before.power_mode, clocks, heat, load, steal)
        yield f"    {'; '.join(text for text in told if text)}"
    for reason in profile.disturbed:
        yield f"  disturbed: {reason}"
    for what, why in profile.missing.items():
        yield f"  not measured: {what}: {why}"


def _ms(value: float | None) -> str:
    return "too few samples" if value is None else f"{value:.3f} ms"
