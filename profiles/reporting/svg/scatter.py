"""What was tried, as points; the Pareto front as a line."""

from __future__ import annotations

from ..content import Point, Scatter
from .canvas import CHARACTER, WIDTH, Drawing, Scale, cut, x_axis, y_axis

FAR = 8.0  # times, beyond which an axis is logarithmic
CLOSE = 0.6  # of the largest: where all points are beyond, the axis does not begin at 0
NEAR = (44.0, 14.0)  # of two points, across and up: a short name and the height of a line
TOP, HEIGHT, LEFT, RIGHT = 26.0, 240.0, 42.0, WIDTH - 8


def scatter(plot: Scatter) -> Drawing:
    """Less is better on both axes, unless the axis says otherwise; both hold every point and every limit."""
    drawing = Drawing(height=HEIGHT + 62)
    across, up = _across(plot), _up(plot)
    y_axis(drawing, up, LEFT, RIGHT, plot.up)
    x_axis(drawing, across, HEIGHT, TOP, f"{plot.across}{' (logarithmic)' if across.logarithmic else ''}")
    for name, (axis, value) in plot.limits.items():
        _limit(drawing, name, axis, (across if axis == "across" else up)(value))
    front = sorted((p for p in plot.points if p.front), key=lambda p: p.across[0])
    if len(front) > 1:
        drawing.path([(across(p.across[0]), up(p.up)) for p in front], "front")
    for point in plot.points:
        _point(drawing, point, across(point.across[1]), across(point.across[0]), across(point.across[2]), up(point.up))
    for name, x, y in _names(plot, across, up):
        _name(drawing, name, x, y)
    _legend(drawing, plot, bool(len(front) > 1))
    return drawing


def _across(plot: Scatter) -> Scale:
    values = [v for point in plot.points for v in (point.across if point.front else point.across[:1])]
    values += [value for axis, value in plot.limits.values() if axis == "across"]
    low, high = min(values), max(values)
    if low > 0 and high > FAR * low:
        return Scale(low / 1.15, high * 1.15, LEFT, RIGHT, logarithmic=True)
    return Scale(*_ends(low, high), LEFT, RIGHT)


def _up(plot: Scatter) -> Scale:
    values = [point.up for point in plot.points] + [v for axis, v in plot.limits.values() if axis == "up"]
    return Scale(*_ends(min(values), max(values)), HEIGHT, TOP)


def _ends(low: float, high: float) -> tuple[float, float]:
    """From 0 where that wastes little of the plot."""
    start = 0.0 if 0 <= low < CLOSE * high else low - 0.15 * (high - low or abs(high) or 1.0)
    return start, high + 0.08 * (high - start)


def _limit(drawing: Drawing, name: str, axis: str, at: float) -> None:
    if axis == "across":
        drawing.line(at, TOP, at, HEIGHT, "limit")
        drawing.text(at - 3, TOP + 9, name, "tick halo", "end")
    else:
        drawing.line(LEFT, at, RIGHT, at, "limit")
        drawing.text(RIGHT, at - 3, name, "tick halo", "end")


def _point(drawing: Drawing, point: Point, low: float, x: float, high: float, y: float) -> None:
    css = "first" if point.front else "quiet"
    if point.front and high - low > 1:
        drawing.line(low, y, high, y, "whisker")
    if point.chosen:
        drawing.add("circle", cx=x, cy=y, r=8, css="ring")
    drawing.add("circle", cx=x, cy=y, r=4 if point.front else 3, css=f"dot {css}")


def _names(plot: Scatter, across: Scale, up: Scale) -> list[tuple[str, float, float]]:
    """What is written, and beside which point: one text for points whose own would lie on one another."""
    found: list[tuple[str, float, float]] = []
    for point in sorted((p for p in plot.points if p.named), key=lambda p: not p.chosen):
        x, y = across(point.across[0]), up(point.up)
        near = next((i for i, (_, to, at) in enumerate(found) if abs(x - to) < NEAR[0] and abs(y - at) < NEAR[1]), None)
        if near is None:
            found.append((point.name, x, y))
        else:
            found[near] = (f"{found[near][0]}, {point.name}", *found[near][1:])
    return found


def _name(drawing: Drawing, name: str, x: float, y: float) -> None:
    left = x > (LEFT + RIGHT) / 2
    room = (x - LEFT if left else RIGHT - x) - 14
    text = cut(name, room)
    drawing.text(
        x - 12 if left else x + 12, y - 9 if y > TOP + 20 else y + 17, text, "name halo", "end" if left else "start"
    )


def _legend(drawing: Drawing, plot: Scatter, line: bool) -> None:
    x, y = 0.0, HEIGHT + 51
    entries = [("dot first", "on the Pareto front")] if line or any(p.front for p in plot.points) else []
    entries += [("dot quiet", "beaten")] if any(not p.front for p in plot.points) else []
    entries += [("ring", "shipped")] if any(p.chosen for p in plot.points) else []
    for css, name in entries:
        drawing.add("circle", cx=x + 6, cy=y - 4, r=6 if css == "ring" else 4, css=css)
        drawing.text(x + 17, y, name, "label")
        x += 30 + CHARACTER * len(name)
