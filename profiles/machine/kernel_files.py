"""The small files in which the kernel tells of the machine; what is absent or unreadable is nothing, not an error."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str:
    """The file's text without blanks around it; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def read_number(path: Path) -> float | None:
    """The file's number; None where there is none."""
    try:
        return float(read_text(path))
    except ValueError:
        return None
