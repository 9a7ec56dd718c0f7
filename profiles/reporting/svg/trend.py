"""A figure from run to run: a dot with its interval for each, a line through those of one machine."""

from __future__ import annotations

from ..content import Trend
from .canvas import WIDTH, Drawing, Scale, cut, nice_end, y_axis

TOP, HEIGHT, LEFT, RIGHT = 26.0, 180.0, 46.0, WIDTH - 10
CLOSE = 0.6  # of the largest: where all values are beyond, the axis does not begin at 0


def trend(plot: Trend) -> Drawing:
    """The runs at equal distances, the oldest on the left; a ring marks one that is unstable."""
    machines = list(dict.fromkeys(step.machine for step in plot.steps))
    drawing = Drawing(height=HEIGHT + 22 + 15 * len(machines))
    across, up = Scale(0, max(len(plot.steps) - 1, 1), LEFT + 8, RIGHT - 8), _up(plot)
    y_axis(drawing, up, LEFT, RIGHT, plot.up)
    drawing.line(LEFT, HEIGHT, RIGHT, HEIGHT, "axis")
    for index, machine in enumerate(machines):
        group = plot.groups[machine]
        own = [(across(place), step) for place, step in enumerate(plot.steps) if step.machine == machine]
        drawing.path([(x, up(step.value)) for x, step in own], f"line {group}")
        for x, step in own:
            drawing.line(x, up(step.low), x, up(step.high), "whisker")
            drawing.add("circle", cx=x, cy=up(step.value), r=3.5, css=f"dot {group}")
            if step.open:
                drawing.add("circle", cx=x, cy=up(step.value), r=7, css="ring")
        drawing.add("rect", x=0, y=HEIGHT + 24 + 15 * index, width=10, height=10, css=f"fill {group}")
        drawing.text(14, HEIGHT + 33 + 15 * index, cut(machine, WIDTH - 20), "label")
    for place, anchor in ((0, "start"), (len(plot.steps) - 1, "end")):
        if place or anchor == "start":
            x = LEFT if anchor == "start" else RIGHT
            drawing.text(x, HEIGHT + 14, plot.steps[place].name.partition(" ")[0], "tick", anchor)
    return drawing


def _up(plot: Trend) -> Scale:
    low, high = min(step.low for step in plot.steps), max(step.high for step in plot.steps)
    if 0 <= low < CLOSE * high:
        return Scale(0, nice_end(high, 4), HEIGHT, TOP)
    margin = 0.15 * (high - low or abs(high) or 1.0)
    return Scale(low - margin, high + margin, HEIGHT, TOP)
