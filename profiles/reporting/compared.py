"""A comparison of `edgepress compare` as one part of a page, and the targets of several bundles side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..findings.comparison import Comparison, Side
from ..findings.report import SHOWN, latency_text, megabytes, rows
from .content import Bar, Bars, Block, Command, Hue, Part, Section, Sentences, Table, Tile, Tone
from .grounds import conditions_blocks, machine_table, strongest, tools_table
from .reportable import BundleFindings
from .text import counted, sentence


def comparison_part(found: Comparison) -> Part:
    """B against A, the verdict first."""
    outcome = found.outcome
    shown: Mapping[str, Tone] = {"faster": "good", "slower": "bad", "no difference shown": "open"}
    status: Tone = "open" if outcome.unfinished else shown[outcome.verdict]
    details = (f"A {latency_text(found.a.latency, 50)}", f"B {latency_text(found.b.latency, 50)}")
    return Part(
        title=f"{found.b.measured.name} against {found.a.measured.name}",
        about=f"A is {found.a.measured.name}, B is {found.b.measured.name}",
        verdict=sentence(str(outcome)),
        status=status,
        tiles=(
            Tile(topic="Latency", status=status, label=outcome.verdict, found=str(outcome.ratio), details=details),
            *_side_tiles(found),
        ),
        sections=tuple(_sections(found)),
    )


def _side_tiles(found: Comparison) -> Iterator[Tile]:
    a, b = found.a, found.b
    if a.size is not None and b.size is not None:
        yield Tile(
            topic="Size", status="plain", label="B", found=megabytes(b.size), details=(f"A {megabytes(a.size)}",)
        )
    if a.task is not None and b.task is not None:
        change = f"A {a.task.after:.4f}, a change of {b.task.after - a.task.after:+.4f}"
        yield Tile(topic="Accuracy", status="plain", label="B", found=f"{b.task.after:.4f}", details=(change,))


def _sections(found: Comparison) -> Iterator[Section]:
    yield Section(title="Side by side", blocks=(_table(found), *_ratios(found)))
    yield Section(title="How sure", blocks=(Sentences(items=tuple(_limits(found))),))
    more = {"threads": str(found.setup.threads), "date": found.date}
    conditions = tuple(conditions_blocks(found.before, found.after))
    yield Section(
        title="Environment",
        blocks=(machine_table(found.setup.machine, more), *conditions, tools_table(found.setup.tools)),
    )
    yield Section(title="How to reproduce", blocks=(Command(text=found.command),))
    absent = [
        f"No {what} of {name}: {sentence(why)}" for name, side in _sides(found) for what, why in side.absent.items()
    ]
    yield Section(title="What was not done", blocks=(Sentences(items=tuple(absent) or ("Nothing was left out.",)),))


def _sides(found: Comparison) -> tuple[tuple[str, Side], ...]:
    return (("A", found.a), ("B", found.b))


def _table(found: Comparison) -> Table:
    sides = [side for _, side in _sides(found)]
    table = [
        ("name", *(side.measured.name for side in sides)),
        ("precision", *(side.measured.precision for side in sides)),
        ("runtime", *(side.measured.runtime for side in sides)),
        *((f"latency p{p}", *(latency_text(side.latency, p) for side in sides)) for p in SHOWN),
        ("samples", *(f"{side.latency.samples:,}" for side in sides)),
        ("size", *("not measured" if side.size is None else megabytes(side.size) for side in sides)),
        ("task metric", *("none" if side.task is None else f"{side.task.after:.4f}" for side in sides)),
        ("parity with FP32, worst output", *("none" if side.parity is None else str(side.parity) for side in sides)),
    ]
    if found.speeds:
        table += [(name, "1", f"{one.ratio}, {one.verdict}") for name, one in found.speeds.items()]
        table += [_perplexities(sides)]
    return Table(title="A and B", head=("", "A", "B"), rows=tuple(table))


def _perplexities(sides: Sequence[Side]) -> tuple[str, ...]:
    parities = [None if side.language is None else side.language.parity for side in sides]
    return ("perplexity", *("not known" if one is None else one.said for one in parities))


def _ratios(found: Comparison) -> tuple[Block, ...]:
    if not found.pairs:
        return ()
    ratio = found.outcome.ratio
    bars = [
        Bar(
            name=f"pair {n + 1}",
            value=float(np.exp(pair.center())),
            text=f"{np.exp(pair.center()):.3f}x",
            group="quiet",
        )
        for n, pair in enumerate(found.pairs)
    ]
    bars.append(Bar(name="all, with 95 % interval", value=ratio.value, text=str(ratio), low=ratio.low, high=ratio.high))
    says = "Latency of A over that of B in each pair of fresh processes; above 1 B is faster."
    return (Bars(title="How many times as fast B is", says=says, bars=tuple(bars), mark=("as fast", 1.0)),)


def _limits(found: Comparison) -> Iterator[str]:
    outcome = found.outcome
    if outcome.turns:
        yield (
            f"{outcome.processes} fresh processes an arm, {counted(outcome.turns, 'turn')} in ABBA order, "
            f"{found.seconds:.0f} s."
        )
    if outcome.weaker:
        yield f"Weaker evidence than an interleaved comparison: {sentence(outcome.weaker)}"
    if outcome.unfinished:
        yield f"Unfinished, so nothing is claimed: {sentence(outcome.unfinished)}"
    yield from (f"These do not compare, and were compared with --force: {sentence(why)}" for why in found.forced)
    yield from (f"Disturbed: {sentence(why)}" for why in found.disturbed)


def overview(bundles: Sequence[BundleFindings]) -> tuple[Section, ...]:
    """What is shipped to each of several targets, side by side; nothing where there is one."""
    if len(bundles) < 2:
        return ()
    return (Section(title="Side by side", blocks=(_targets(bundles), *_sizes(bundles), _caution(bundles))),)


def _targets(bundles: Sequence[BundleFindings]) -> Table:
    shipped = [{what: after for what, _, after in rows(found.report)} for found in bundles]
    names = list(dict.fromkeys(what for column in shipped for what in column))
    head = [
        ("precision", *(found.report.precision for found in bundles)),
        ("runtime", *(found.report.backend for found in bundles)),
        ("evidence", *(strongest(found.report.evidence) for found in bundles)),
    ]
    body = [(what, *(column.get(what) or "no figure" for column in shipped)) for what in names if what != "precision"]
    shown = [row for row in body if any(cell != "no figure" for cell in row[1:])]
    return Table(
        title="What is shipped to each",
        head=("", *(_label(found, bundles) for found in bundles)),
        rows=(*head, *shown),
    )


def _label(found: BundleFindings, bundles: Sequence[BundleFindings]) -> str:
    """The target; with the model where there are several models; the directory where that is not enough."""
    several = len({one.report.model for one in bundles}) > 1
    label = f"{found.report.model}, {found.report.target}" if several else found.report.target
    same = [
        one for one in bundles if (one.report.model, one.report.target) == (found.report.model, found.report.target)
    ]
    return label if len(same) == 1 else found.name


def _sizes(bundles: Sequence[BundleFindings]) -> Iterator[Block]:
    bars = []
    for found in bundles:
        sizes, label = found.report.sizes, _label(found, bundles)
        held: tuple[tuple[str, int | None, Hue], ...] = (
            ("FP32 engine", sizes.engine_fp32, "second"),
            (f"shipped, {found.report.precision}", sizes.engine, "first"),
        )
        bars += [Bar(name=f"{label}: {n}", value=s, text=megabytes(s), group=g) for n, s, g in held if s is not None]
    if bars:
        missing = [_label(found, bundles) for found in bundles if found.report.sizes.engine is None]
        lacking = f" Not built, so without a bar: {', '.join(missing)}." if missing else ""
        yield Bars(
            title="Size of the engine",
            says=f"Bytes on disk.{lacking}",
            bars=tuple(bars),
            legend={"second": "FP32", "first": "shipped"},
        )


def _caution(bundles: Sequence[BundleFindings]) -> Sentences:
    machines = {str(found.report.machine) for found in bundles if found.report.latency}
    unmeasured = [_label(found, bundles) for found in bundles if not found.report.latency]
    items = (
        [f"Latencies come from {counted(len(machines), 'machine')}; they compare targets only as far as machines do."]
        if machines
        else []
    )
    if unmeasured:
        items.append(f"Latency was not measured for {', '.join(unmeasured)}; no figure stands in for it.")
    return Sentences(items=tuple(items or ["Every target was measured."]))
