"""Text that every Python has: the docstrings of the standard library."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Sequence

_WORD = re.compile(r"[a-z]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n\s*\n")


def docstrings(module: str) -> list[str]:
    """Distinct docstrings of the public functions, classes and methods that ``module`` defines, sorted by name.

    Raises:
        RuntimeError: there is none, as under ``python -OO``.
    """
    found = list(dict.fromkeys(inspect.cleandoc(text) for text in _documented(module)))
    if not found:
        raise RuntimeError(f"module {module!r} has no docstrings: run Python without -OO")
    return found


def first_sentences(modules: Sequence[str]) -> list[str]:
    """The first sentence of each docstring on one line, in the order of ``modules``, without repeats (case ignored)."""
    distinct: dict[str, str] = {}
    for module in modules:
        for text in docstrings(module):
            sentence = " ".join(_SENTENCE_END.split(text, maxsplit=1)[0].split())
            distinct.setdefault(sentence.casefold(), sentence)
    return list(distinct.values())


def words(text: str) -> list[str]:
    """Lower-case runs of letters."""
    return _WORD.findall(text.lower())


def _documented(module: str) -> Iterator[str]:
    for _, member in _public(importlib.import_module(module)):
        if getattr(member, "__module__", None) != module:
            continue
        yield from _text(member)
        if inspect.isclass(member):
            for _, attribute in _public(member):
                yield from _text(attribute)


def _public(owner: object) -> list[tuple[str, object]]:
    return sorted((name, member) for name, member in vars(owner).items() if not name.startswith("_"))


def _text(member: object) -> Iterator[str]:
    """The docstring of something callable or a property; a constant only has its type's, which says nothing of it."""
    documented = callable(member) or isinstance(member, (property, classmethod, staticmethod))
    text = getattr(member, "__doc__", None)
    if documented and isinstance(text, str) and text.strip():
        yield text
