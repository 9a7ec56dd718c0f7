"""What pruning took from a model, and what it had to leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedGroup:
    """One group of coupled layers.

    Attributes:
        name: of the layer that makes the channels; of the block; of the attention, or of its first layer where the
            whole attention is a block too.
        before: units before: channels, heads, or 1 for a block.
        after: units kept.
        loss: relative squared error of the outputs without these units, before any training; None where a recipe gave
            the width, so that it was not judged.
        saved: milliseconds that these units cost on the target's engine, from a measurement of some of them; None where
            groups were not ranked by time.
    """

    name: str
    kind: Literal["channels", "heads", "block"]
    before: int
    after: int
    loss: float | None
    saved: float | None

    def __str__(self) -> str:
        what = "removed whole" if self.kind == "block" else f"{self.before} to {self.after} {self.kind}"
        error = [] if self.loss is None else [f"error {self.loss:.3g}"]
        saved = [] if self.saved is None else [f"{self.saved:.4f} ms"]
        return f"`{self.name}`: {what}" + (f" ({', '.join([*error, *saved])})" if error or saved else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What was removed before capture.

    Attributes:
        asked: share of MACs that was to go.
        macs_before: multiply-accumulates of one inference of the model as given.
        macs_after: the same of the pruned one.
        importance: what decided which units of a group go.
        ranked_by: what decided how many go from which group, in words; None where a recipe gave the widths.
        multiple: what channel counts were rounded to.
        groups: those that lost something.
        kept: why others were left alone, by name.
    """

    asked: float
    macs_before: int
    macs_after: int
    importance: str
    ranked_by: str | None
    multiple: int
    groups: tuple[PrunedGroup, ...]
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def removed(self) -> float:
        """The share of MACs that is gone."""
        return 1 - self.macs_after / self.macs_before

    @property
    def widths(self) -> Mapping[str, int]:
        """Units that each group keeps, as a recipe gives them."""
        return {group.name: group.after for group in self.groups}

    def lines(self) -> Iterator[str]:
        """It in sentences, for a report."""
        yield f"{self.removed:.1%} of the MACs were removed ({self.asked:.0%} asked); channels by {self.multiple}."
        if self.ranked_by is None:
            yield f"The widths are those of the recipe; units within a group go by importance `{self.importance}`."
        else:
            yield f"Groups were ranked by {self.ranked_by}, units within a group by importance `{self.importance}`."
        yield from map(str, self.groups)
        yield from (f"`{name}` was left alone: {reason}." for name, reason in self.kept.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """2:4 sparsity of the graph that is shipped, read from its weights.

    Attributes:
        sparse: layers whose weights have two zeros in each four along their input channels.
        total: convolutions and matrix products with constant weights.
        dense: why the others are not, by node name.
    """

    sparse: int
    total: int
    dense: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.sparse} of {self.total} layers"

    def lines(self) -> Iterator[str]:
        """It in sentences, for a report."""
        yield f"{self} have two zeros in each four weights along their input channels."
        yield from (f"`{name}` is dense: {reason}." for name, reason in self.dense.items())


def millions(macs: int) -> str:
    """A number of multiply-accumulates for people."""
    return f"{macs / 1e9:.2f} G" if macs >= 1e9 else f"{macs / 1e6:.2f} M"
