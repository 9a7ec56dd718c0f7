"""Axes that were named, held against those that are free."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...errors import InputError


def need_free(named: Iterable[str], free: Collection[str]) -> None:
    """See that every name is that of a free axis.

    Raises:
        InputError: one is not.
    """
    if unknown := sorted(set(named) - set(free)):
        raise InputError(f"--axis names {', '.join(unknown)}; the free axes are {', '.join(sorted(free)) or 'none'}.")
