"""Histograms one above the other, on one logarithmic axis."""

from __future__ import annotations

from ..content import Distribution, Histogram
from .canvas import WIDTH, Drawing, Scale, x_axis

ROW, LABEL, FOOT = 60.0, 24.0, 36.0
MARKED = ("p50", "p90")


def distribution(plot: Distribution) -> Drawing:
    """A row for each arm; a line at the median, a dashed one at p90, a bar for the median's interval."""
    drawing = Drawing(height=(ROW + LABEL) * len(plot.arms) + FOOT)
    edges = plot.arms[0].edges
    across = Scale(edges[0], edges[-1], 6, WIDTH - 6, logarithmic=True)
    base = (ROW + LABEL) * len(plot.arms)
    x_axis(drawing, across, base, LABEL, "latency, ms (logarithmic); grey bar: 95 % interval of the median")
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
    drawing.text(0, base - ROW - 5, arm.name, "name")
    shown = {name: arm.marks[name] for name in MARKED if name in arm.marks}
    drawing.text(WIDTH, base - ROW - 5, ", ".join(f"{n} {v:.3g} ms" for n, (v, _, _) in shown.items()), "tick", "end")
    for name, (value, low, high) in shown.items():
        if name == "p50" and across(high) - across(low) > 1:
            drawing.add("rect", x=across(low), y=base + 1.5, width=across(high) - across(low), height=4, css="interval")
        drawing.line(across(value), base - ROW + 4, across(value), base, f"mark {name}")
