"""Names in Markdown: whatever a user called a layer or a file, a page shows it and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from edgepress.profiles.reporting.content import Page, Part, Section, Sentences, Table
from edgepress.profiles.reporting.markdown import markdown
from edgepress.profiles.reporting.text import code

NAMES = [
    "<img src=x onerror=alert(1)>",
    "[link](javascript:alert(1))",
    "![image](http://x)",
    "a|b",
    "*bold* **very** _so_ __so__ ~~not~~",
    "&lt;b&gt; &#60;",
    r"a\b\|c",
    "`code`",
    "`",
    "# title",
    "1. one",
    "- point",
    "> quoted",
    "two\nlines\n\n# title",
    "conv_1/Conv_2 [0.1, 0.2]",
    "<https://x.y>",
]
PLAIN = {"text", "softbreak", "code_inline"}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_letters(name: str) -> None:
    table = Table(title=name, head=("name", "why"), rows=((code(name), f"since {name}"),))
    texts = Sentences(items=(name,)), Sentences(items=(f"x {name}",), points=True), table
    sections = (Section(title=name, blocks=texts),)
    part = Part(title=name, verdict=name, about=name, status="plain", tiles=(), sections=sections)
    page = Page(title=name, made="made", overview=(), parts=(part,))
    parsed = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown(page))
    inline = [token for token in parsed if token.type == "inline"]
    shown = [text for token in inline if (text := said(token))]
    quoted, plain = " ".join(name.replace("`", "'").split()), " ".join(name.split())
    assert shown.count(quoted) >= 1  # in its cell, as code
    assert f"since {plain.replace('`code`', 'code')}" in shown
    assert f"x {plain.replace('`code`', 'code')}" in shown
    strong = {"strong_open", "strong_close"}  # titles and verdicts, whole
    assert {child.type for token in inline for child in children(token)} <= PLAIN | strong
    assert not [token for token in parsed if token.type in {"html_block", "blockquote_open", "ordered_list_open"}]
    assert [token.tag for token in parsed if token.type == "heading_open"] == ["h1", "h2"]


def children(token: Token) -> Iterator[Token]:
    yield from token.children or ()


def said(token: Token) -> str:
    return "".join(child.content for child in children(token))
