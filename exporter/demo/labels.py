"""Names of classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError, UnreadableError

_MOST = 1 << 20
_LONGEST = 60
_HINT = "Give a text file with a name a line, that of class 0 first."


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Names by number, and those of numbers that have none."""

    names: tuple[str, ...] = ()

    def __call__(self, number: int | None) -> str:
        """The name of a class: `class 7` where none is known, `object` where there are no classes."""
        if number is None:
            return "object"
        return self.names[number] if 0 <= number < len(self.names) else f"class {number}"

    @property
    def background(self) -> int | None:
        """The class of that name."""
        found = [name.lower() for name in self.names]
        return found.index("background") if "background" in found else None


def load_labels(path: Path) -> Labels:
    """Names from a file.

    Raises:
        InputError: it is no text, too large, or a line is empty or too long.
    """
    if not path.is_file():
        raise InputError(f"{path} is no file.", hint=_HINT)
    if path.stat().st_size > _MOST:
        raise InputError(f"{path} has {path.stat().st_size / 1e6:.1f} MB; labels have 1 MB at most.", hint=_HINT)
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError.of(path, str(error), hint=_HINT) from error
    names = [" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in lines]
    for number, name in enumerate(names, 1):
        if not 0 < len(name) <= _LONGEST:
            fault = "is empty" if not name else f"has {len(name)} letters; a name has {_LONGEST} at most"
            raise InputError(f"{path}: line {number} {fault}.", hint=_HINT)
    return Labels(names=tuple(names))
