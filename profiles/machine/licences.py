"""The licences of installed packages, as they state them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

# A `License` field may be the whole text of one; its name is a line of its own.
LONGEST = 80
_CLASSIFIER = "License :: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Licences:
    """What a package says of its licence.

    Attributes:
        expression: SPDX, where the package states one (PEP 639).
        names: otherwise, in the package's own words; empty where it says nothing.
    """

    expression: str = ""
    names: tuple[str, ...] = ()


def licences(package: str) -> Licences:
    """What the metadata of a package say; nothing where it is not installed."""
    try:
        told = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return Licences()
    if expression := str(told["License-Expression"] or "").strip():
        return Licences(expression=expression)
    classified = [line for line in told.get_all("Classifier") or [] if line.startswith(_CLASSIFIER)]
    if classified:
        return Licences(names=tuple(line.rpartition(" :: ")[2] for line in classified))
    lines = [line.strip() for line in str(told["License"] or "").splitlines() if line.strip()]
    return Licences(names=(lines[0],)) if lines and len(lines[0]) <= LONGEST else Licences()
