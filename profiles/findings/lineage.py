"""Where an engine comes from: each step with the digest of what went in and of what came out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageStep:
    """One step; a digest is sha256 in hex, but for data, whose is the sum of its samples' BLAKE2b.

    Attributes:
        what: `prune`, `train`, `capture`, `calibrate`, a precision whose graph was written, or `compile`.
        before: digest of the model that went in.
        after: digest of what came out: the model, or of `calibrate` the statistics.
        beside: digest of what else went in, by what it is.
        by: the tool and its version.
    """

    what: str
    before: str
    after: str
    beside: Mapping[str, str] = field(default_factory=dict)
    by: str = ""


def ancestry(steps: Iterable[LineageStep], digest: str) -> tuple[LineageStep, ...]:
    """The steps that lead to what has this digest, in their order."""
    kept: list[LineageStep] = []
    wanted = {digest}
    for step in reversed(tuple(steps)):
        if step.after in wanted:
            kept.append(step)
            wanted |= {step.before, *step.beside.values()}
    return tuple(reversed(kept))


def breaks(steps: Iterable[LineageStep]) -> Iterator[str]:
    """Where a lineage does not hang together, a clause each: a step takes what no step before it gave."""
    known: set[str] = set()
    for step in steps:
        if known and step.before not in known:
            yield f"`{step.what}` begins with {step.before[:12]}, which no step before it gave"
        known |= {step.before, step.after}
