"""Histograms one above the other, on one logarithmic axis."""

from __future__ import annotations

from ..content import Distribution, Histogram
from .canvas import WIDTH, Drawing, Scale, x_axis

ROW, LABEL, FOOT = 62.0, 16.0, 36.0


def distribution(plot: Distribution) -> Drawing:
    """A row for each arm; its median with the interval, and the slow tenth, are marked."""
    drawing = Drawing(height=(ROW + LABEL) * len(plot.arms) + FOOT)
    edges = plot.arms[0].edges
    across = Scale(edges[0], edges[-1], 6, WIDTH - 6, logarithmic=True)
    base = (ROW + LABEL) * len(plot.arms)
    x_axis(drawing, across, base, LABEL, "latency, ms (logarithmic)")
    for index, arm in enumerate(plot.arms):
        _row(drawing, arm, across, (ROW + LABEL) * (index + 1))
    return drawing


def _row(drawing: Drawing, arm: Histogram, across: Scale, base: float) -> None:
    up = Scale(0, max(arm.counts), base, base - ROW + 4)
    steps = [(across(arm.edges[0]), base)]
    for count, left, right in zip(arm.counts, arm.edges, arm.edges[1:], strict=False):
        steps += [(across(left), up(count)), (across(right), up(count))]
    steps.append((across(arm.edges[-1]), base))
    drawing.path(steps, f"area {arm.group}", closed=True)
    drawing.line(across.start, base, across.end, base, "axis")
    _mark(drawing, arm, across, base)
    drawing.text(0, base - ROW - 4, arm.name, "name")


def _mark(drawing: Drawing, arm: Histogram, across: Scale, base: float) -> None:
    for name, (value, low, high) in arm.marks.items():
        if name not in ("p50", "p90"):
            continue
        x = across(value)
        if across(high) - across(low) > 1:
            drawing.add("rect", x=across(low), y=base - 7, width=across(high) - across(low), height=7, css="interval")
        drawing.line(x, base - ROW + 4, x, base, "mark")
        drawing.text(x + 3, base - ROW + 12, f"{name} {value:.3g}", "tick halo")
