"""Texts of files that strangers may have written: they go into scripts, reports and pages."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", text):
        raise ValueError(f"the name {text[:100]!r} is not letters, digits, dots and dashes")
    return text


def _line(text: str) -> str:
    if hidden := [letter for letter in text if not letter.isprintable()]:
        raise ValueError(f"expected one line of visible letters, without {hidden[0]!r}")
    return text


def _flag(text: str) -> str:
    if not re.fullmatch(r"--[A-Za-z0-9]+(=[A-Za-z0-9_.:,+-]*)?", text):
        raise ValueError(f"{text[:100]!r} is not a flag like --fp16 or --useDLACore=0; a flag names no path")
    return text


def _prose(text: str) -> str:
    for line in text.split("\n"):
        _line(line)
    return text


# A word of a command; a flag of one, which loads no library; a line, which ends where a comment does; lines for people.
Name = Annotated[str, AfterValidator(_name)]
Flag = Annotated[str, AfterValidator(_flag)]
OneLine = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_line)]
Prose = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_prose)]
