"""Which phone is meant: the serial number that `adb devices` shows, with what runs there behind a question mark."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from ....errors import InputError

DIRECTORY = "/data/local/tmp/edgepress"
FORM = "adb://SERIAL"
PROVIDERS = ("cpu", "xnnpack", "nnapi")
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\[\]-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneAddress:
    """A phone that adb reaches.

    Attributes:
        serial: as `adb devices` shows it, or HOST:PORT; empty for the only one that is connected.
        runtime: path of the archive or the library of onnxruntime for Android; empty looks for one.
        sha256: of that file; empty takes any.
        runner: path of the program that runs engines, built before; empty builds it.
        provider: who computes: a name of PROVIDERS.
        directory: where files are kept there.
    """

    serial: str = ""
    runtime: str = ""
    sha256: str = ""
    runner: str = ""
    provider: str = "cpu"
    directory: str = DIRECTORY

    @classmethod
    def parse(cls, rest: str) -> PhoneAddress:
        """What is behind `adb://`.

        Raises:
            InputError: no phone, or something that is not known of one.
        """
        serial, _, query = rest.partition("?")
        serial = serial.rstrip("/")
        more = dict(parse_qsl(query, keep_blank_values=True))
        if (serial and not _SERIAL.fullmatch(serial)) or more.keys() - {*_MORE} or not all(more.values()):
            raise InputError(
                f"adb://{rest} names no phone.",
                hint=f"Give {FORM}, or adb:// for the only one, with ?{'=...&'.join(_MORE)}=... behind it as needed.",
            )
        found = cls(serial=serial, **more)
        if found.provider not in PROVIDERS:
            raise InputError(f"No provider {found.provider!r} is known.", hint=f"Give one of {', '.join(PROVIDERS)}.")
        if found.sha256 and not _SHA256.fullmatch(found.sha256):
            raise InputError(f"sha256={found.sha256} is no SHA-256.", hint="Give 64 hexadecimal digits.")
        if not found.directory.startswith("/"):
            raise InputError(f"directory={found.directory} is no absolute path.", hint=f"The default is {DIRECTORY}.")
        return found

    def __str__(self) -> str:
        """The phone alone, for messages."""
        return f"adb://{self.serial}"


_MORE = ("runtime", "sha256", "runner", "provider", "directory")
