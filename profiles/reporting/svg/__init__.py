"""Plots as SVG that takes its colours and its font from the page's style sheet."""

from __future__ import annotations

from ..content import Bars, Course, Distribution, Plot, Trend
from .bars import bars
from .canvas import Drawing
from .course import course
from .distribution import distribution
from .scatter import scatter
from .trend import trend


def draw(plot: Plot, name: str) -> str:
    """One `<svg>` element.

    Args:
        name: unique on the page; ids are made of it.
    """
    return _drawing(plot).svg(name, plot.title, plot.says)


def _drawing(plot: Plot) -> Drawing:
    match plot:
        case Distribution():
            return distribution(plot)
        case Course():
            return course(plot)
        case Bars():
            return bars(plot)
        case Trend():
            return trend(plot)
        case _:
            return scatter(plot)
