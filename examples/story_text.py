"""Prose that every Python has: docstrings, comments and licences of the standard library, and a part of its manual."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

_HELD_OUT = 40
_SHORTEST = 40  # characters
_RUN = 8  # words in a row that a text has from another, and not by chance
_SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data"})
_COMMENTS = re.compile(r"(?:^[ \t]*#[^\n]*\n){2,}", re.MULTILINE)
_HASH = re.compile(r"^[ \t]*#+ ?", re.MULTILINE)


def held_out() -> str:
    """The first 40 topics of the language reference by name, joined by a blank line; what a model is judged on."""
    return "\n\n".join(topics[name] for name in sorted(topics)[:_HELD_OUT])


@functools.cache
def documents(most: int | None = None) -> list[str]:
    """Texts to train on, file by file in seeded order, without paragraphs that `held_out` has; the first `most`."""
    known = set(_runs(held_out()))
    # The reference says some things twice, and modules' docstrings stand in it.
    texts = ("\n\n".join(_new(text, known)) for text in _found())
    return list(itertools.islice(_distinct(text for text in texts if len(text) > _SHORTEST), most))


def _found() -> Iterator[str]:
    yield from (topics[name] for name in sorted(topics)[_HELD_OUT:])
    yield from (sys.copyright, *_licences())
    files = _files()
    for place in np.random.default_rng(0).permutation(len(files)):
        yield from _prose_of(files[place].read_text(encoding="utf-8", errors="replace"))


def _distinct(texts: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for text in texts:
        if text not in seen:
            seen.add(text)
            yield text


def _files() -> list[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    return [file for file in sorted(root.rglob("*.py")) if not _SKIPPED & set(file.relative_to(root).parts)]


def _licences() -> Iterator[str]:
    path = Path(sysconfig.get_paths()["stdlib"]) / "LICENSE.txt"
    yield from (path.read_text(encoding="utf-8"),) if path.exists() else ()


def _prose_of(source: str) -> Iterator[str]:
    """Docstrings, and comments of two lines and more."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    yield from filter(None, (ast.get_docstring(node) for node in nodes if isinstance(node, documented)))
    yield from (inspect.cleandoc(_HASH.sub("", match.group())) for match in _COMMENTS.finditer(source))


def _new(text: str, known: set[str]) -> Iterable[str]:
    return (part for part in text.split("\n\n") if not known.intersection(_runs(part)))


def _runs(text: str) -> Iterator[str]:
    words = text.split()
    return (" ".join(words[start : start + _RUN]) for start in range(len(words) - _RUN + 1))
