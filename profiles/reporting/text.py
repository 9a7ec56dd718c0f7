"""Figures and names as people read them."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What stands in backticks is code.
CODE = re.compile(r"`([^`]*)`")
# What Markdown reads as more than itself: anywhere, beside a word, and at the beginning.
_MARKS = re.compile(
    r"[\\`*<|]|\](?=[(\[:])|~(?=~)|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|^>|^[#+=-](?![\w.])"
    r"|(?:(?<=^\d)|(?<=^\d\d))[.)](?=\s|$)"
)


def counted(number: int, noun: str) -> str:
    """`1 layer`, `3 layers`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def milliseconds(value: float | None) -> str:
    """`0.526 ms`."""
    return "too few samples" if value is None else f"{value:.3f} ms"


def decibels(value: float) -> str:
    """`28.2 dB`; `exact` where nothing differs."""
    return "exact" if value == float("inf") else f"{value:.1f} dB"


def microseconds(value: float) -> str:
    """`12 us`, spelt with the Greek letter."""
    return f"{value:,.0f} µs" if value >= 10 else f"{value:.1f} µs"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def sentence(text: str) -> str:
    """With a full stop, and a capital unless it begins with a name such as int8."""
    text = text.strip()
    word = text.partition(" ")[0]
    start = text[:1] if any(letter.isdigit() for letter in word) else text[:1].upper()
    return f"{start}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def code(name: str) -> str:
    """A name as code: `name`, on one line, whatever is in it."""
    return f"`{' '.join(name.replace('`', chr(39)).split())}`"


def in_markdown(text: str) -> str:
    """A text in which only what stands in backticks is more than letters, as a line or a table's cell of Markdown.

    Names of layers, outputs and files are the user's, and may look like links, HTML or the end of a cell.
    """
    pieces = CODE.split(" ".join(text.split()))
    return "".join(
        f"`{piece.replace('|', chr(92) + '|')}`" if index % 2 else _MARKS.sub(r"\\\g<0>", piece)
        for index, piece in enumerate(pieces)
    )
