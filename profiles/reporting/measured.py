"""A measurement of `edgepress profile` as one part of a page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..findings.layers import coverage
from ..findings.profile import ColdStart, Profile
from ..findings.report import latency_text, megabytes
from .content import Bar, Bars, Block, Command, Part, Section, Sentences, Table, Tile, Tone
from .grounds import conditions_blocks, machine_table, tools_table
from .language import language_sections, speed_tile
from .latencies import TimedArm, latency_blocks
from .layers import coverage_blocks, files_table, layer_blocks
from .text import counted, milliseconds, sentence


def profile_part(found: Profile) -> Part:
    """Everything that was measured of an engine."""
    one, threads = found.measured, counted(found.setup.threads, "thread")
    return Part(
        title=f"{one.name}, measured",
        about=f"{one.precision} for {one.target}; {one.runtime}, {threads}; {found.mode} mode",
        verdict=_verdict(found),
        status="good" if found.stable else "open",
        tiles=tuple(_tiles(found)),
        sections=tuple(_sections(found)),
    )


def _verdict(found: Profile) -> str:
    if found.unfinished:
        return f"Unfinished: {sentence(found.unfinished)} What follows was measured before."
    if found.disturbed:
        return f"Disturbed, so that the figures are not the machine's own: {'; '.join(found.disturbed)}."
    if (speed := None if found.language is None else found.language.speed) is not None:
        one, steady = speed.depths[0], f"UNSTABLE: {speed.unsteady}" if speed.unsteady else "a steady state was reached"
        return f"{one.decode} tok/s behind {one.depth:,} tokens, median and 95 % interval; {steady}."
    if not found.single_stream:
        return "Latency was not measured."
    steady = "a steady state was reached" if found.stable else "UNSTABLE, no steady state was reached"
    return f"{latency_text(found.single_stream[0].latency(), 50)} an inference, median and 95 % interval; {steady}."


def _tiles(found: Profile) -> Iterator[Tile]:
    for run in found.single_stream[:1]:
        looks: tuple[Tone, str] = ("good", "steady") if found.stable else ("open", "unstable")
        p90 = f"p90 {latency_text(run.latency(), 90)}"
        yield Tile(
            topic="Latency", status=looks[0], label=looks[1], found=latency_text(run.latency(), 50), details=(p90,)
        )
    if found.offline:
        best = max(found.offline, key=lambda one: one.rate)
        low, high = best.interval()
        details = (f"[{low:,.0f}, {high:,.0f}], batch {best.batch}, {counted(best.streams, 'stream')}",)
        yield Tile(
            topic="Throughput", status="plain", label="best", found=f"{best.rate:,.0f} samples/s", details=details
        )
    if found.language is not None:
        yield speed_tile(found.language.speed, found.language.bandwidth, "")
    if found.memory is not None and found.memory.peak:
        details = (f"steady {megabytes(found.memory.steady)}",)
        yield Tile(topic="Memory", status="plain", label="peak", found=megabytes(found.memory.peak), details=details)
    if found.size is not None:
        details = (f"weights {megabytes(found.size.weights)}",)
        yield Tile(topic="Size", status="plain", label="on disk", found=megabytes(found.size.total), details=details)


def _sections(found: Profile) -> Iterator[Section]:
    if found.language is None:
        yield Section(title="Latency", blocks=tuple(_latency(found)))
    else:
        yield from language_sections(found.language)
    if found.offline:
        yield Section(title="Throughput", blocks=_throughput(found))
    if found.cold_start is not None:
        yield Section(title="Cold start", blocks=_cold(found.cold_start))
    if found.language is not None and found.size is not None:
        yield Section(title="Files of the engine", blocks=(files_table(found.size, "weights"),))
    else:
        untimed = "Time by layer was not measured: the runtime does not tell, or single stream was left out."
        yield Section(title="Size and time by layer", blocks=tuple(layer_blocks(found.size, found.layers, untimed)))
    if any(layer.compute for layer in found.layers):
        blocks = tuple(coverage_blocks(coverage(found.layers), {}, ""))
        yield Section(title="Integer kernels", blocks=blocks)
    yield Section(title="Environment", blocks=tuple(_environment(found)))
    yield Section(title="How to reproduce", blocks=(Command(text=found.command),))
    missing = tuple(f"{what}: {sentence(why)}" for what, why in found.missing.items())
    yield Section(title="What was not done", blocks=(Sentences(items=missing or ("Everything was measured.",)),))


def _latency(found: Profile) -> Iterator[Block]:
    if not found.single_stream:
        why = found.missing.get("single-stream", "it was not measured")
        yield Sentences(items=(f"Nothing to draw: {why}.",), points=False)
        return
    names = ("single stream", *(f"process {n + 2}" for n in range(len(found.single_stream) - 1)))
    arms = [
        TimedArm(name=name, group="first", latency=run.latency(), samples=run)
        for name, run in zip(names, found.single_stream, strict=True)
    ]
    yield from latency_blocks(arms)


def _throughput(found: Profile) -> tuple[Block, ...]:
    bars = []
    for one in found.offline:
        low, high = one.interval()
        name = f"batch {one.batch}, {counted(one.streams, 'stream')} of {counted(one.threads, 'thread')}"
        text = f"{one.rate:,.0f} [{low:,.0f}, {high:,.0f}]"
        bars.append(Bar(name=name, value=one.rate, text=text, low=low, high=high))
    says = "Samples a second, median of the windows, with 95 % intervals."
    return (Bars(title="Samples a second", says=says, bars=tuple(bars)),)


def _cold(cold: ColdStart) -> tuple[Block, ...]:
    parts = {
        "interpreter": cold.started,
        "imports": cold.imported,
        "load and compile": cold.opened,
        "first inference": cold.first,
    }
    medians = {name: float(np.median(values)) / 1e6 for name, values in parts.items()}
    bars = tuple(Bar(name=name, value=value, text=f"{value:,.1f} ms") for name, value in medians.items())
    rows = [(name, milliseconds(medians[name]), milliseconds(max(values) / 1e6)) for name, values in parts.items()]
    rows.append(
        ("to the first answer", milliseconds(float(np.median(cold.total)) / 1e6), milliseconds(max(cold.total) / 1e6))
    )
    says = f"Medians of {counted(len(cold.total), 'fresh process')}, files in the system's cache.".replace(
        "processs", "processes"
    )
    table = Table(
        title="From the start of a process to its first answer",
        head=("", "median", "slowest"),
        rows=tuple(rows),
        numbers=(1, 2),
    )
    return Bars(title="Where a cold start goes", says=says, bars=bars), table


def _environment(found: Profile) -> Iterator[Block]:
    setup, more = found.setup, {"threads": str(found.setup.threads), "date": found.date}
    if setup.affinity:
        more["bound to cores"] = ", ".join(map(str, setup.affinity))
    if (memory := found.memory) is not None:
        more["memory before, opened, steady, peak"] = ", ".join(
            megabytes(held) for held in (memory.before, memory.opened, memory.steady, memory.peak)
        )
    if (energy := found.energy) is not None:
        more["energy an inference"] = f"{energy.per_inference * 1e3:.3g} mJ at {energy.watts:.3g} W ({energy.source})"
    yield machine_table(setup.machine, more)
    yield from conditions_blocks(found.before, found.after)
    yield tools_table(setup.tools)
