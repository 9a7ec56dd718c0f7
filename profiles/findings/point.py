"""One point of a search: the settings that were tried, by name."""

from __future__ import annotations

from collections.abc import Mapping

Value = str | int
SearchPoint = Mapping[str, Value]

# A value in words, and the value that goes without saying.
WORDS: Mapping[str, tuple[str, Value | None]] = {
    "precision": ("{}", None),
    "threads": ("{} threads", None),
    "prune": ("{} % pruned", 0),
    "ranges": ("ranges {}", "auto"),
    "kept": ("{} layers float", 0),
    # Of a decoder.
    "block": ("blocks of {}", None),
    "zero": ("{}", None),
    "rounding": ("rounding by {}", "data"),
}


def in_words(point: SearchPoint) -> str:
    """A point for people: `int8, 2 threads, 40 % pruned`."""
    said = [text.format(point[name]) for name, (text, plain) in WORDS.items() if point.get(name, plain) != plain]
    return ", ".join(said).replace(" 1 threads", " 1 thread").replace(" 1 layers", " 1 layer")
