"""For which processor a program or a library is: the header of ELF (System V ABI, chapter 4)."""

from __future__ import annotations

import struct

_MACHINES = {3: "x86", 40: "armeabi-v7a", 62: "x86_64", 183: "arm64-v8a"}


def abi_of(content: bytes) -> str:
    """As Android names it; empty of what is no program of Linux."""
    if content[:4] != b"\x7fELF" or len(content) < 20:
        return ""
    order = ">" if content[5] == 2 else "<"
    (machine,) = struct.unpack_from(f"{order}H", content, 18)
    return _MACHINES.get(machine, f"machine {machine}")
