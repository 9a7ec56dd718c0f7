"""Where an engine comes from, as a table."""

from __future__ import annotations

from collections.abc import Iterable

from ..findings.lineage import LineageStep
from .content import Sentences, Table

SHOWN = 12  # digits of a digest; report.json has all 64


def lineage_table(steps: Iterable[LineageStep]) -> Table:
    """A row a step."""
    rows = tuple(
        (step.what, step.before[:SHOWN], step.after[:SHOWN], _beside(step), step.by or "not told") for step in steps
    )
    return Table(title="From the source to the engine", head=("step", "from", "to", "with", "by"), rows=rows)


def lineage_words() -> Sentences:
    """What the digests are worth."""
    text = (
        "Each step names the digest of what went in and of what came out. That they fit shows damage, not forgery: "
        "only a signature says who vouches for them (`edgepress verify --key`)."
    )
    return Sentences(items=(text,), points=False)


def _beside(step: LineageStep) -> str:
    return ", ".join(f"{what} {digest[:SHOWN]}" for what, digest in step.beside.items())
