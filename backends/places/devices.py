"""Devices by a name of their own, each a table of a TOML file: `--on devices.toml#orin-lab`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode

from pydantic import ConfigDict

from ...errors import InputError
from ...profiles.device.files import validate
from ...profiles.device.texts import OneLine
from ...profiles.reading.toml_file import read_toml
from ...profiles.registry import unknown_name

_START = "It has a table for each device, as [orin-lab], with `address` and, if they differ, keys of docs/devices.md."


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDevice:
    """A table of the file.

    Attributes:
        address: as `--on` takes it.
        python: the command or the path of the Python that runs there.
        directory: where files are kept there.
        runtime, sha256, runner, provider: of a phone, as `adb.address.PhoneAddress` has them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    address: OneLine
    python: OneLine = ""
    directory: OneLine = ""
    runtime: OneLine = ""
    sha256: OneLine = ""
    runner: OneLine = ""
    provider: OneLine = ""

    @property
    def whole(self) -> str:
        """The address with all that is said of the device."""
        names = (field.name for field in fields(self) if field.name != "address")
        said = {name: text for name in names if (text := getattr(self, name))}
        return f"{self.address}{'&' if '?' in self.address else '?'}{urlencode(said)}" if said else self.address


def address_of(given: str) -> str:
    """The address that was given, or the one of a device that was named as `FILE.toml#NAME`.

    Raises:
        InputError: the file does not hold what it should, or no such device.
    """
    file, separator, name = given.rpartition("#")
    if not separator or not file.endswith(".toml") or "://" in file:
        return given
    tables = read_toml(Path(file), hint=_START)
    if name not in tables:
        raise InputError(f"{file}: {unknown_name('device', name, tuple(tables))}", hint=_START)
    return validate(ListedDevice, tables[name], f"{file}, device {name}", hint=_START).whole
