"""Two engines side by side: latency with a verdict, accuracy and size; and whether two measurements compare at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from ...errors import InputError
from ..machine.conditions import Conditions
from ..timing.measurement import Latency
from ..timing.turns import Outcome, Turns
from .files import parsed, read_json
from .parity import Parity
from .profile import Measured, Setup
from .report import TaskMetric

SCHEMA = 1
KIND = "edgepress comparison"
MADE_BY = "edgepress compare A B --output FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two engines.

    Attributes:
        size: bytes of the engine's files.
        task: the user's own metric, from the bundle; None where it has none.
        parity: the worst output against the FP32 model, from the bundle.
        absent: what is not known of it, and why.
    """

    measured: Measured
    latency: Latency
    size: int | None
    task: TaskMetric | None = None
    parity: Parity | None = None
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """B against A.

    Attributes:
        pairs: raw latencies, for each pair of fresh processes; empty where a side was measured before.
        seconds: wall time of the whole comparison.
        forced: why the two do not compare, where the user wanted it nevertheless.
        disturbed: throttling, or clocks that fell.
    """

    schema: int = SCHEMA
    kind: Literal["edgepress comparison"] = "edgepress comparison"
    a: Side
    b: Side
    outcome: Outcome
    setup: Setup
    date: str
    command: str
    seconds: float
    pairs: tuple[Turns, ...] = ()
    before: Conditions | None = None
    after: Conditions | None = None
    forced: tuple[str, ...] = ()
    disturbed: tuple[str, ...] = ()


def load_comparison(path: Path) -> Comparison:
    """Read what `edgepress compare --output` wrote.

    Raises:
        InputError: there is no such file, it is damaged, or it is no comparison of this schema.
    """
    data = read_json(path, MADE_BY)
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise InputError(f"{path} is not a comparison: expected a file that `edgepress compare --output` wrote.")
    return parsed(path, data, SCHEMA, TypeAdapter(Comparison))


def incomparable(a: Measured, b: Measured, first: Setup, second: Setup) -> tuple[str, ...]:
    """Why latencies of two measurements do not compare, a clause each; empty where they do."""
    found = []
    if (first.machine.processor, first.machine.arch) != (second.machine.processor, second.machine.arch):
        found.append(f"A was measured on {first.machine}, B on {second.machine}")
    if first.machine.system != second.machine.system:
        found.append(f"A was measured under {first.machine.system}, B under {second.machine.system}")
    if first.threads != second.threads:
        found.append(f"A ran with {first.threads} threads, B with {second.threads}")
    if len(first.affinity) != len(second.affinity):
        found.append(f"A was bound to {len(first.affinity)} cores, B to {len(second.affinity)}")
    if a.runtime != b.runtime and a.runtime.split()[0] == b.runtime.split()[0]:
        found.append(f"A ran on {a.runtime}, B on {b.runtime}")
    if a.shapes != b.shapes:
        found.append(f"A was fed {_shapes(a)}, B {_shapes(b)}")
    return tuple(found)


def _shapes(one: Measured) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in one.shapes.items())
