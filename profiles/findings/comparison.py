"""Two engines side by side: latency with a verdict, accuracy and size; and whether two measurements compare at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...errors import InputError
from ..machine.conditions import Conditions
from ..reading.json_file import MOST_SAMPLES
from ..timing.measurement import Latency
from ..timing.turns import LatencyComparison, Turns
from .circumstances import Circumstances, differences
from .files import parsed, read_json
from .language import Language
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
        language: of a decoder; its latency is that of a token behind the shortest prompt.
        absent: what is not known of it, and why.
    """

    measured: Measured
    latency: Latency
    size: int | None
    task: TaskMetric | None = None
    parity: Parity | None = None
    language: Language | None = None
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """B against A.

    Attributes:
        pairs: raw latencies, for each pair of fresh processes; empty where a side was measured before.
        seconds: wall time of the whole comparison.
        forced: why the two do not compare, where the user wanted it nevertheless.
        disturbed: throttling, or clocks that fell.
        speeds: of decoders, by what was timed: `prefill of 128 tokens`; `outcome` and `pairs` are those of the first
            decode.
    """

    schema: int = SCHEMA
    kind: Literal["edgepress comparison"] = "edgepress comparison"
    a: Side
    b: Side
    outcome: LatencyComparison
    setup: Setup
    date: str
    command: str
    seconds: float
    pairs: tuple[Turns, ...] = ()
    before: Conditions | None = None
    after: Conditions | None = None
    forced: tuple[str, ...] = ()
    disturbed: tuple[str, ...] = ()
    speeds: Mapping[str, LatencyComparison] = field(default_factory=dict)


def load_comparison(path: Path) -> Comparison:
    """Read what `edgepress compare --output` wrote.

    Raises:
        InputError: there is no such file, it is damaged, or it is no comparison of this schema.
    """
    data = read_json(path, MADE_BY, MOST_SAMPLES)
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise InputError(f"{path} is not a comparison: expected a file that `edgepress compare --output` wrote.")
    return parsed(path, data, SCHEMA, Comparison)


def incomparable(a: Measured, b: Measured, first: Setup, second: Setup) -> tuple[str, ...]:
    """Why latencies of two measurements do not compare, a clause each; empty where they do."""
    return tuple(differences(_circumstances(a, first), _circumstances(b, second)))


def _circumstances(measured: Measured, setup: Setup) -> Circumstances:
    return Circumstances(
        machine=setup.machine,
        threads=setup.threads,
        inputs=tuple(f"{name} {shape}" for name, shape in measured.shapes.items()),
        system=setup.machine.system,
        cores=len(setup.affinity),
        runtime=measured.runtime,
    )
