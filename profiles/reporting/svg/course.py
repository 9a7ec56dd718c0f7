"""Latency over time: a line for the median, a band for the middle 80 %."""

from __future__ import annotations

from ..content import Course
from .canvas import WIDTH, Drawing, Scale, legend, nice_end, x_axis, y_axis

FAR = 20.0  # times, beyond which a linear axis would press the faster arms flat
TOP, HEIGHT, LEFT, RIGHT = 34.0, 236.0, 38.0, WIDTH - 6


def course(plot: Course) -> Drawing:
    """All arms on an axis that begins at 0, so that a small drift looks small; logarithmic where they are far apart."""
    drawing = Drawing(height=HEIGHT + 62)
    least, most = min(min(line.low) for line in plot.lines), max(max(line.high) for line in plot.lines)
    apart = most > FAR * least
    last = max(line.at[-1] for line in plot.lines)
    across, up = Scale(0, last, LEFT, RIGHT), _up(least, most, apart)
    y_axis(
        drawing, up, LEFT, RIGHT, f"latency, ms{' (logarithmic)' if apart else ''}; line: median, band: 10 % to 90 %"
    )
    x_axis(drawing, across, HEIGHT, HEIGHT, plot.axis)
    for line in plot.lines:
        there = [(across(x), up(y)) for x, y in zip(line.at, line.high, strict=True)]
        back = [(across(x), up(y)) for x, y in zip(line.at, line.low, strict=True)]
        drawing.path([*there, *reversed(back)], f"band {line.group}", closed=True)
    for line in plot.lines:
        drawing.path([(across(x), up(y)) for x, y in zip(line.at, line.middle, strict=True)], f"line {line.group}")
    legend(drawing, HEIGHT + 54, [(line.group, line.name) for line in plot.lines])
    return drawing


def _up(least: float, most: float, apart: bool) -> Scale:
    return Scale(least / 1.1, most * 1.1, HEIGHT, TOP, True) if apart else Scale(0, nice_end(most, 4), HEIGHT, TOP)
