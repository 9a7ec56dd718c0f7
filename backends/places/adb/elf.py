"""For which processor a program or a library is: the header of ELF (System V ABI, chapter 4)."""

from __future__ import annotations

import struct
from pathlib import Path

from ....errors import InputError

_MACHINES = {3: "x86", 40: "armeabi-v7a", 62: "x86_64", 183: "arm64-v8a"}


def abi_of(content: bytes) -> str:
    """As Android names it; empty of what is no program of Linux."""
    if content[:4] != b"\x7fELF" or len(content) < 20:
        return ""
    order = ">" if content[5] == 2 else "<"
    (machine,) = struct.unpack_from(f"{order}H", content, 18)
    return _MACHINES.get(machine, f"machine {machine}")


def need_abi(file: Path, abi: str, name: str, kind: str, hint: str) -> None:
    """Refuse a file that is for another device.

    Args:
        name: of the file, as the beginning of a sentence.
        kind: what it should be, as `program`.

    Raises:
        InputError: it is for another processor, or nothing of Linux.
    """
    with file.open("rb") as opened:
        there = abi_of(opened.read(64))
    if there != abi:
        what = f"is for {there}" if there else f"is no {kind} of Linux"
        raise InputError(f"{name} {what}, the device is {abi}.", hint=hint)
