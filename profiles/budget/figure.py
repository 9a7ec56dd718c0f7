"""A figure with its interval, by the names that a budget, a history and a tracker call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .limits import PERCENTILES

# The unit of each figure; metrics and shares have none.
UNITS: Mapping[str, str] = {
    **{f"latency_p{p}": "ms" for p in PERCENTILES},
    "size": "bytes",
    "accuracy": "",
    "accuracy_drop": "",
    "coverage": "share",
    "speedup": "x",
    "memory": "bytes",
    "throughput": "/s",
    "prefill": "tok/s",
    "decode": "tok/s",
    "first_token": "ms",
    "perplexity_rise": "",
}
TIMED = ("ms", "x", "/s", "tok/s")  # units of what is measured by repetition, and so has an interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure and its 95 % interval.

    Attributes:
        low, high: equal to the value where it is exact: bytes of a file, or `evaluate()` on the data it was given.
        unit: as UNITS has it.
        before: what a loss is counted from; None for what is no loss.
        rises: the loss is what is more than `before`, as of a perplexity, not what is less.
        unsteady: why it is not the machine's own, a clause; empty where nothing disturbed it.
    """

    value: float
    low: float
    high: float
    unit: str = ""
    before: float | None = None
    unsteady: str = ""
    rises: bool = False

    @classmethod
    def exact(cls, value: float, unit: str = "", before: float | None = None) -> Figure:
        """A figure without an interval."""
        return cls(value=value, low=value, high=value, unit=unit, before=before)

    def __str__(self) -> str:
        text = spelt(self.value, self.unit)
        if self.before is not None and self.rises:
            return self._risen(self.before)
        if self.before is not None:
            return f"{text} ({self.before:.4f} to {self.before - self.value:.4f})"
        if self.unit not in TIMED and self.low == self.high:
            return text
        number, space, unit = (text if " " in text else f"{text} ").partition(" ")
        low, high = (spelt(bound, self.unit).removesuffix(f" {self.unit}") for bound in (self.low, self.high))
        return f"{number} [{low}, {high}]{space}{unit}".rstrip()

    def _risen(self, before: float) -> str:
        """A rise with its interval, and what it is of the value before."""
        text = f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"
        return f"{text} ({before:.2f} to {before + self.value:.2f}, {self.value / before:+.1%})"


def spelt(value: float, unit: str) -> str:
    """A value for people: `1.234 ms`, `0.48 MB`, `0.9960`, `1.41x`, `310.2/s`, `21.5 tok/s`."""
    if unit == "bytes":
        return f"{value / 1e6:.3f} MB" if value >= 100_000 else f"{value / 1e3:.3f} kB"
    if unit == "tok/s":
        return f"{value:.1f} tok/s"
    if unit == "ms":
        return f"{value:.3f} ms"
    if unit in ("%", "share"):
        return f"{value:+.1%}" if unit == "%" else f"{value:.1%}"
    return f"{value:.2f}x" if unit == "x" else f"{value:.1f}/s" if unit == "/s" else f"{value:.4g}"


Figures = Mapping[str, Figure | str]  # a text says why there is none, a clause
