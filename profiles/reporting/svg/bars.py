"""Horizontal bars, the name above each: names of layers are long, and a phone is narrow."""

from __future__ import annotations

from ..content import Bars
from .canvas import CHARACTER, WIDTH, Drawing, Scale, cut, legend

ROW, BAR = 31.0, 9.0
# Names and figures share a line: digits and names of layers are wider than words, above all in DejaVu Sans.
WIDE = 7.2


def bars(plot: Bars) -> Drawing:
    """A row for each; the axis begins at 0."""
    head = 20.0 if plot.legend else 2.0
    drawing = Drawing(height=head + ROW * len(plot.bars) + (14 if plot.mark else 0))
    if plot.legend:
        legend(drawing, 10, list(plot.legend.items()))
    most = max([bar.value for bar in plot.bars] + [bar.high or 0.0 for bar in plot.bars])
    across = Scale(0, most or 1.0, 0, WIDTH - 4)
    for index, bar in enumerate(plot.bars):
        top = head + ROW * index
        room = WIDTH - WIDE * len(bar.text) - 14
        drawing.text(0, top + 13, cut(bar.name, room, WIDE), "name")
        drawing.text(WIDTH - 4, top + 13, bar.text, "value", "end")
        drawing.add("rect", x=0, y=top + 18, width=WIDTH - 4, height=BAR, css="rail")
        drawing.add(
            "rect",
            x=0,
            y=top + 18,
            width=max(across(bar.value), 0.6) if bar.value else 0,
            height=BAR,
            css=f"fill {bar.group}",
        )
        if bar.low is not None and bar.high is not None:
            drawing.line(across(bar.low), top + 22.5, across(bar.high), top + 22.5, "whisker")
    if plot.mark:
        name, value = plot.mark
        foot = head + ROW * len(plot.bars)
        drawing.line(across(value), head, across(value), foot, "limit")
        drawing.text(min(across(value) + 3, WIDTH - CHARACTER * len(name) - 4), foot + 9, name, "tick")
    return drawing
