"""Folders of TOML files, one file a value: those of this package, and those that other packages add.

Another package registers itself under `edgepress.devices`; its folders `targets`, `schemes` and `toolchains` are read
as the ones here are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import InputError, UnservedError
from ..reading.near import did_you_mean
from ..reading.toml_file import decoded
from ..registry import Registry

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

T = TypeVar("T")
DEVICES = Registry("edgepress.devices", "package of devices")
_UNKNOWN, _MISSING = "unexpected_keyword_argument", "missing"


def stems(folder: str) -> tuple[str, ...]:
    """Names of a folder's files without `.toml`, sorted.

    Raises:
        InputError: two packages have a file of one name.
    """
    return tuple(sorted(_files(folder)))


def read(folder: str, name: str) -> dict[str, Any]:
    """What a file of the folder says."""
    return decoded(_files(folder)[name].read_bytes())


@cache
def _files(folder: str) -> dict[str, Traversable]:
    found: dict[str, Traversable] = {}
    for root in _folders(folder):
        for file in root.iterdir():
            name = file.name.removesuffix(".toml")
            if name != file.name and name in found:
                raise InputError(f"Two packages have {folder}/{file.name}.", hint="Uninstall one of them.")
            if name != file.name:
                found[name] = file
    return found


def _folders(folder: str) -> Iterator[Traversable]:
    """Of this package, then of others; one that does not import has none, and is named where its backend is."""
    yield resources.files(__package__).joinpath(folder)
    for name in DEVICES.names():
        try:
            package = DEVICES.load(name)
        except UnservedError:
            continue
        assert isinstance(package, ModuleType), f"{name!r} is registered under {DEVICES.group} and is no package"
        if (root := resources.files(package).joinpath(folder)).is_dir():
            yield root


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
        faults = sorted(error.errors(), key=lambda e: e["type"] != _UNKNOWN)
        raise InputError(f"{origin}: {_said(kind, faults)}", hint=hint) from error


def _said(kind: type[Any], faults: list[Any]) -> str:
    """The first fault in words; of keys that are missing all, since who writes a file anew lacks several."""
    from ..reading.validator import names_at

    first = faults[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == _UNKNOWN:
        return f"`{where}`: unknown key. {did_you_mean(str(first['loc'][-1]), names_at(kind, first['loc']), 1)}"
    if first["type"] == _MISSING:
        missing = [".".join(map(str, fault["loc"])) for fault in faults if fault["type"] == _MISSING]
        return f"{', '.join(f'`{key}`' for key in missing)}: required, and not given."
    given = f", not {first['input']!r}" if first["type"] == "literal_error" else ""
    return f"`{where}`: {first['msg'].removeprefix('Value error, ')}{given}."
