"""Colours of classes that eyes of every kind tell apart, and what can be read on them."""

from __future__ import annotations

Colour = tuple[int, int, int]

# Okabe and Ito, "Color Universal Design" (2008), without black, in the order in which neighbours differ most.
_BASE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
INK: Colour = (16, 19, 22)
PAPER: Colour = (255, 255, 255)
BACK: Colour = (24, 28, 32)
QUIET: Colour = (163, 173, 184)
RAIL: Colour = (50, 58, 66)
# Of class numbers beyond the first seven the same hues, lighter and then darker; after that they come again.
_SHADES = (0.0, 0.55, -0.4)


def colour_of(label: int | None) -> Colour:
    """The colour of a class; a name stands beside it wherever it is drawn."""
    number = 0 if label is None else label
    base, shade = _BASE[number % len(_BASE)], _SHADES[number // len(_BASE) % len(_SHADES)]
    end = PAPER if shade > 0 else (0, 0, 0)
    red, green, blue = (round(a + (b - a) * abs(shade)) for a, b in zip(base, end, strict=True))
    return red, green, blue


def text_on(colour: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour."""
    return max((INK, PAPER), key=lambda ink: contrast(ink, colour))


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio, 1..21 (WCAG 2.2, 1.4.3)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Colour) -> float:
    """Relative luminance of sRGB (WCAG 2.2)."""
    linear = [v / 12.92 if (v := c / 255) <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for c in colour]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
