"""What every plot is drawn with: elements, scales and axes.

A drawing is WIDTH units wide and is shown about as wide on a phone, so that its text stays readable there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

WIDTH = 380.0
CHARACTER = 6.1  # mean width of one at the size of the labels


@dataclass(slots=True)
class Drawing:
    """Elements in the order they are painted; y grows downwards."""

    height: float
    elements: list[str] = field(default_factory=list)

    def add(self, tag: str, text: str = "", **attributes: str | float) -> None:
        """One element; `css` is its class, a `_` in a name stands for `-`."""
        pairs = {("class" if name == "css" else name.replace("_", "-")): value for name, value in attributes.items()}
        words = "".join(f" {name}={quoteattr(spelt(value))}" for name, value in pairs.items())
        self.elements.append(f"<{tag}{words}>{escape(text)}</{tag}>" if text else f"<{tag}{words}/>")

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """A straight line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, css=css)

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        """One line of text, its base line at y."""
        self.add("text", text, x=x, y=y, css=css, text_anchor=anchor)

    def path(self, points: list[tuple[float, float]], css: str, *, closed: bool = False) -> None:
        """A line through points, or a shape."""
        steps = " ".join(f"{'L' if index else 'M'}{spelt(x)} {spelt(y)}" for index, (x, y) in enumerate(points))
        self.add("path", d=f"{steps}{'Z' if closed else ''}", css=css)

    def svg(self, name: str, title: str, says: str) -> str:
        """The element; a screen reader says its title and its words, and nothing inside."""
        head = (
            f'<svg role="img" viewBox="0 0 {spelt(WIDTH)} {spelt(self.height)}" aria-labelledby="{name}-t {name}-d">'
            f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(says)}</desc>'
        )
        return f"{head}{''.join(self.elements)}</svg>"


def spelt(value: str | float) -> str:
    """A number in a tenth of a unit, which nobody sees."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to units of the drawing, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Where a value lies; beyond the ends it stays at the end."""
        low, high, value = (math.log(max(v, 1e-12)) if self.logarithmic else v for v in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values between the ends."""
        return _decades(self.low, self.high) if self.logarithmic else _steps(self.low, self.high, count)


def nice_end(value: float, count: int = 5) -> float:
    """The first round value that is not below."""
    step = _step(value, count)
    return step * math.ceil(value / step - 1e-9)


def tick_text(value: float) -> str:
    """As short as can be."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cut(text: str, units: float, character: float = CHARACTER) -> str:
    """At most so many units wide; what is left out is in the middle, as names differ at their ends."""
    most = max(8, int(units / character))
    if len(text) <= most:
        return text
    return f"{text[: most // 2 - 1]}…{text[-(most - most // 2) :]}"


def x_axis(drawing: Drawing, scale: Scale, y: float, top: float, label: str, count: int = 5) -> None:
    """Ticks with thin lines up to `top`, and the label under them."""
    last = -1e9
    for tick in scale.ticks(count):
        x, text = scale(tick), tick_text(tick)
        drawing.line(x, top, x, y, "grid")
        if x - last >= (len(text) + 2) * CHARACTER:
            half = len(text) * CHARACTER / 2
            drawing.text(min(max(x, half), WIDTH - half), y + 13, text, "tick", "middle")
            last = x
    drawing.line(scale.start, y, scale.end, y, "axis")
    drawing.text((scale.start + scale.end) / 2, y + 29, label, "label", "middle")


def y_axis(drawing: Drawing, scale: Scale, x: float, right: float, label: str) -> None:
    """Ticks with thin lines up to `right`, and the label above them."""
    for tick in scale.ticks(4):
        y = scale(tick)
        drawing.line(x, y, right, y, "grid")
        drawing.text(x - 5, y + 3.5, tick_text(tick), "tick", "end")
    drawing.text(0, scale.end - 9, label, "label")


def legend(drawing: Drawing, y: float, entries: list[tuple[str, str]]) -> None:
    """Swatches with names in one line: (class, name)."""
    x = 0.0
    for css, name in entries:
        drawing.add("rect", x=x, y=y - 8, width=10, height=10, css=f"fill {css}")
        drawing.text(x + 14, y + 1, name, "label")
        x += 26 + CHARACTER * len(name)


def _steps(low: float, high: float, count: int) -> list[float]:
    step = _step(high - low, count)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _step(span: float, count: int) -> float:
    """1, 2 or 5 times a power of ten."""
    raw = max(span, 1e-12) / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= raw * 0.999)


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; powers of ten alone over many decades."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    times = (1.0,) if high / low > 2000 else (1.0, 2.0, 5.0)
    found = [n * 10.0**p for p in powers for n in times if low <= n * 10.0**p <= high]
    return found if len(found) > 1 else _steps(low, high, 4)
