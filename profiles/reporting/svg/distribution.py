"""Histograms one above the other, on one logarithmic axis."""

from __future__ import annotations

from ..content import Distribution, Histogram
from .canvas import CHARACTER, WIDTH, Drawing, Scale, x_axis

ROW, LABEL, FOOT = 60.0, 24.0, 36.0


def distribution(plot: Distribution) -> Drawing:
    """A row for each arm; its median with the interval, and the slow tenth, are marked."""
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
    _mark(drawing, arm, across, base)
    drawing.text(0, base - ROW - 5, arm.name, "name")


def _mark(drawing: Drawing, arm: Histogram, across: Scale, base: float) -> None:
    """The median with its interval under the axis, and the slow tenth; their names keep apart."""
    taken = -1e9
    for name in ("p50", "p90"):
        if name not in arm.marks:
            continue
        value, low, high = arm.marks[name]
        x, label = across(value), f"{name} {value:.3g} ms"
        if name == "p50" and across(high) - across(low) > 1:
            drawing.add("rect", x=across(low), y=base + 1.5, width=across(high) - across(low), height=4, css="interval")
        drawing.line(x, base - ROW + 4, x, base, "mark")
        below = x < taken
        drawing.text(x + 3, base - ROW + (23 if below else 12), label, "tick halo")
        taken = x + CHARACTER * len(label)
