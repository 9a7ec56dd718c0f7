"""The data of this package: folders of TOML files, one file a value."""

from __future__ import annotations

from importlib import resources
from typing import Any, TypeVar

from ...errors import InputError
from ..reading.toml_file import decoded

T = TypeVar("T")


def stems(folder: str) -> tuple[str, ...]:
    """Names of a folder's files without `.toml`, sorted."""
    files = resources.files(__package__).joinpath(folder).iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def read(folder: str, name: str) -> dict[str, Any]:
    """What a file of the folder says."""
    return decoded(resources.files(__package__).joinpath(folder, f"{name}.toml").read_bytes())


def validate(
    kind: type[T], data: dict[str, Any], origin: str, hint: str = "Compare with `edgepress targets NAME`."
) -> T:
    """The data as a value of this type.

    Args:
        origin: where they are from, for messages.
        hint: what to do about a fault.

    Raises:
        InputError: naming the first key that is at fault.
    """
    from pydantic import ValidationError  # the names alone are listed without it

    from ..reading.validator import value_of

    try:
        return value_of(kind, data)
    except ValidationError as error:
        # A misspelt key is reported before the missing one that it leaves behind.
        first = min(error.errors(), key=lambda e: e["type"] != "unexpected_keyword_argument")
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{origin}: `{where}`: {_reason(first)}.", hint=hint) from error


def _reason(fault: Any) -> str:
    """What pydantic found wrong, with the value where another one of a few was expected."""
    if fault["type"] == "unexpected_keyword_argument":
        return "unknown key"
    given = f", not {fault['input']!r}" if fault["type"] == "literal_error" else ""
    return f"{fault['msg'].removeprefix('Value error, ')}{given}"
