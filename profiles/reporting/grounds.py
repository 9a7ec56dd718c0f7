"""What stands behind the figures: evidence, machine, conditions, tools, and how to do it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..findings.evidence import Evidence
from ..machine.conditions import Conditions, disturbances, stolen
from ..machine.environment import Machine
from .content import Block, Sentences, Table

MEANINGS = {
    "measured": "it ran on the target's own architecture",
    "emulated": "it ran, but not on the target's hardware",
    "built": "a compiler produced or accepted it",
    "absent": "nobody did it",
}


def strongest(found: tuple[Evidence, ...]) -> str:
    """The strongest kind that there is."""
    return min((one.kind for one in found), key=list(MEANINGS).index, default="absent")


def evidence_table(found: tuple[Evidence, ...]) -> Table:
    """Every statement with its kind, the strongest kind first."""
    order = list(MEANINGS)
    rows = tuple(
        (one.kind, one.claim, one.tool, one.machine) for one in sorted(found, key=lambda e: order.index(e.kind))
    )
    return Table(title="What was done, by what, and where", head=("evidence", "claim", "by", "on"), rows=rows)


def evidence_words(found: tuple[Evidence, ...]) -> Sentences:
    """What the kinds that occur mean."""
    kinds = {one.kind for one in found}
    return Sentences(items=tuple(f"{kind}: {text}." for kind, text in MEANINGS.items() if kind in kinds))


def machine_table(machine: Machine, more: Mapping[str, str]) -> Table:
    """The machine, and what else had to be the same."""
    rows = {
        "processor": machine.processor,
        "architecture": f"{machine.arch}, {', '.join(machine.isa) or 'no vector extension listed'}",
        "cores": str(machine.cores),
        "system": machine.system,
        **more,
    }
    return Table(title="Machine", head=("", ""), rows=tuple(rows.items()))


def tools_table(tools: Mapping[str, str]) -> Table:
    """Versions of what decides an artifact or a figure."""
    return Table(title="Tools", head=("tool", "version"), rows=tuple(tools.items()))


def conditions_blocks(before: Conditions | None, after: Conditions | None) -> Iterator[Block]:
    """Clocks, temperatures and load around the samples, and what disturbed them."""
    if before is None or after is None:
        return
    rows = tuple(_conditions(before, after))
    if rows:
        yield Table(title="While measuring", head=("", "before", "after"), rows=rows)
    points = [f"Disturbed: {reason}." for reason in disturbances(before, after)]
    points += [f"Not told by this machine: {what}: {why}." for what, why in before.absent.items()]
    if points:
        yield Sentences(items=tuple(points))


def _conditions(before: Conditions, after: Conditions) -> Iterator[tuple[str, str, str]]:
    if before.governor or after.governor:
        yield "governor", before.governor, after.governor
    if before.power_mode or after.power_mode:
        yield "power mode", before.power_mode, after.power_mode
    for name, clock in before.clocks.items():
        yield f"clock of {name}", f"{clock:.0f} MHz", _or_not(after.clocks.get(name), "MHz")
    for name, heat in before.temperatures.items():
        yield f"temperature of {name}", f"{heat:.0f} °C", _or_not(after.temperatures.get(name), "°C")
    if before.load is not None:
        yield "load, mean of a minute", f"{before.load:.2f}", "not told" if after.load is None else f"{after.load:.2f}"
    share = stolen(before, after)
    if share:
        yield "processor time taken by the hypervisor", "", f"{share:.1%}"


def _or_not(value: float | None, unit: str) -> str:
    return "not told" if value is None else f"{value:.0f} {unit}"
