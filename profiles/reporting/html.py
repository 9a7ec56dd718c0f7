"""A page as one HTML file that needs nothing else: no script, no network, no font."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from .content import Block, Command, Illustration, Page, Sentences, Table
from .markdown import figures
from .svg import draw
from .text import CODE

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

# An interval, and a number with its unit: a line never breaks within.
_TOGETHER = re.compile(r"\[[^\[\]]{3,40}\]|\d (?:ms|µs|MB|kB|dB|s|%)(?!\w)")
KINDS = {Sentences: "sentences", Command: "command", Table: "table", Illustration: "picture"}


def html(page: Page) -> str:
    """The page; the same one gives the same bytes."""
    environment = _environment()
    numbers = iter(range(1, 1_000_000))
    return environment.get_template("page.html.j2").render(page=page, number=lambda: next(numbers))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader(__package__, "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"code": _code, "kind": _kind, "drawn": _drawn, "figures": figures, "anchor": _anchor}
    return made


def _code(text: str) -> Markup:
    """What stands in backticks as code; long names may break at their separators."""
    from markupsafe import Markup, escape

    pieces = CODE.split(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(_breakable(piece)) if index % 2 else escape(_together(piece))
        for index, piece in enumerate(pieces)
    )


def _together(text: str) -> str:
    return _TOGETHER.sub(lambda match: match[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


def _breakable(name: str) -> Markup:
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(piece) for piece in re.split(r"(?<=[/_.,:])", name) if piece)


def _kind(block: Block) -> str:
    return KINDS.get(type(block), "plot")


def _drawn(block: Block, number: int) -> Markup:
    from markupsafe import Markup

    assert not isinstance(block, Sentences | Command | Table | Illustration)
    return Markup(draw(block, f"plot-{number}"))  # every text in it is escaped where it is drawn


def _anchor(text: str) -> str:
    """A name for a link within the page."""
    return "-".join(_words(text)) or "part"


def _words(text: str) -> Iterator[str]:
    return (match[0] for match in re.finditer(r"[a-z0-9]+", text.lower()))
