"""Which known name was meant: the one way in which a message answers a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Collection

# Letters from which on a name that stands inside of others, as `orin` does, is a part of them and no accident.
_PART = 3


def near_names(name: str, known: Collection[str], most: int = 3) -> list[str]:
    """The known names that this one may stand for, the likeliest first.

    One that differs in capitals, `_` and `-` alone is meant. Else those that begin with it come first, then those that
    it is spelt like; or, where none begins with it, those that have it in them.

    Args:
        most: that are near by their spelling; all that begin with the name, or have it in them, are given.
    """
    wanted, folded = _folded(name), {_folded(one): one for one in sorted(known, reverse=True)}
    if same := [one for one in known if _folded(one) == wanted]:
        return same
    begin = [one for one in sorted(known) if wanted and _folded(one).startswith(wanted)]
    spelt = [folded[near] for near in difflib.get_close_matches(wanted, folded, n=most, cutoff=0.5)]
    inside = [one for one in sorted(known) if len(wanted) >= _PART and wanted in _folded(one)]
    if inside and not begin:  # what is spelt like a part has little of the whole
        return inside
    return list(dict.fromkeys([*begin, *spelt]))


def did_you_mean(name: str, known: Collection[str], most: int = 3, *, otherwise: str = "Known: {}.") -> str:
    """A question after the near names; where there are none, `otherwise` with all of them."""
    near = near_names(name, known, most)
    return f"Did you mean {' or '.join(near)}?" if near else otherwise.format(", ".join(known) or "none")


def _folded(name: str) -> str:
    return name.casefold().replace("_", "-")
