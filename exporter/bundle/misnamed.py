"""What a path is that was given for a bundle and is none, and what was meant."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ...profiles.machine.given import as_typed
from ...profiles.reading.near import near_names

_MOST = 5  # bundles named in one message
_MAKES_ONE = "`edgepress export` makes one."


def no_bundle(path: Path, mark: str) -> InputError:
    """The error for a path that is no bundle: a directory of bundles, a file of one, or a name that is misspelt.

    Args:
        mark: the file that each bundle has.
    """
    path = as_typed(path)
    if path.is_dir():
        within = sorted(file.parent for file in path.glob(f"*/{mark}"))
        return InputError(f"{path} is not a bundle: it has no {mark}.", hint=_one_of(within) or _around(path, mark))
    if path.exists():
        return InputError(f"{path} is not a bundle: it is a file.", hint=_around(path, mark))
    beside = [file.parent.name for file in path.parent.glob(f"*/{mark}")]
    meant = [path.parent / name for name in near_names(path.name, beside)]
    return InputError(
        f"{path} is not a bundle: it does not exist.",
        hint=f"Did you mean {' or '.join(map(str, meant))}?" if meant else _around(path, mark),
    )


def _one_of(bundles: list[Path]) -> str:
    more = f" and {len(bundles) - _MOST} more" if len(bundles) > _MOST else ""
    return f"It holds bundles; give one: {', '.join(map(str, bundles[:_MOST]))}{more}." if bundles else ""


def _around(path: Path, mark: str) -> str:
    """The bundle that the path lies in, if it does."""
    bundle = next((above for above in path.parents if (above / mark).is_file()), None)
    return _MAKES_ONE if bundle is None else f"The bundle is the whole directory: {bundle}"
