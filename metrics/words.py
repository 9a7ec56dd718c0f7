"""How many words are read or heard right, by jiwer."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from .library import library, need_samples


class WordAccuracy:
    """1 less the word error rate: words replaced, left out and put in, for each word that was to be found.

    Raises:
        InputError: jiwer is not installed.
    """

    def __init__(self) -> None:
        self._jiwer = library("jiwer", "jiwer")
        self._found: list[str] = []
        self._wanted: list[str] = []

    def add(self, texts: Sequence[str], wanted: Sequence[str]) -> None:
        """What was read, and what is written there, text by text.

        Raises:
            InputError: there are not as many of the one as of the other.
        """
        if isinstance(texts, str) or isinstance(wanted, str) or len(texts) != len(wanted):
            raise InputError(
                f"{_said(texts)} read and {_said(wanted)} wanted were given; expected as many texts of both.",
                hint="Give two lists, of one text a sample.",
            )
        self._found += texts
        self._wanted += wanted

    @property
    def value(self) -> float:
        """At most 1; below 0 where more is put in than there is.

        Raises:
            InputError: nothing was given.
        """
        need_samples(len(self._wanted))
        return 1 - float(self._jiwer.wer(self._wanted, self._found))


def _said(texts: Sequence[str]) -> str:
    return "One text" if isinstance(texts, str) else f"{len(texts)} texts"
