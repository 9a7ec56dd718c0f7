"""What a phone tells of itself, asked in one call before anything is written to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ....errors import UnservedError
from ....profiles.machine.environment import ISA_FLAGS, Machine
from .client import Client

OLDEST_API = 24  # of onnxruntime's package for Android, and of a shell that tells how a command ended
# Android's names of instruction sets, as `uname -m` has them.
ARCHES = {"arm64-v8a": "aarch64", "armeabi-v7a": "armv7l", "x86_64": "x86_64", "x86": "i686"}
_MARK = "@edgepress "
_LONGEST = 100  # letters of a property that is shown
_CPUS = "/sys/devices/system/cpu"
_ASKED = {
    "properties": "getprop",
    "memory": "cat /proc/meminfo",
    "processor": "cat /proc/cpuinfo",
    "cores": "grep Cpus_allowed_list /proc/self/status",
    "kernel": "uname -r",
    "fastest": f"grep -s . {_CPUS}/cpu[0-9]*/cpufreq/cpuinfo_max_freq /dev/null",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneFacts:
    """A phone.

    Attributes:
        properties: what `getprop` says.
        api: Android's API level; 0 where it does not tell.
        abi: the instruction set, as Android names it.
        emulator: it is Android's emulator, and no device.
        memory: bytes that can be had without swapping; None where it does not tell.
        cores: that a program there may use, the fastest first.
    """

    properties: Mapping[str, str]
    api: int
    abi: str
    emulator: bool
    memory: int | None
    cores: tuple[int, ...]
    isa: tuple[str, ...]
    kernel: str

    @property
    def arch(self) -> str:
        """As `uname -m` says it."""
        return ARCHES.get(self.abi, self.abi)

    @property
    def name(self) -> str:
        """Who made it and what it is called."""
        maker, model = self._first("ro.product.manufacturer"), self._first("ro.product.model")
        return model if not maker or model.lower().startswith(maker.lower()) else f"{maker} {model}"

    @property
    def chip(self) -> str:
        """The system on chip, where it tells (Android 12 and later), else its board; empty where it does not."""
        whole = f"{self._first('ro.soc.manufacturer')} {self._first('ro.soc.model')}".strip()
        return whole or self._first("ro.board.platform", "ro.hardware")

    @property
    def android(self) -> str:
        """Its version."""
        return f"Android {self._first('ro.build.version.release')} (API {self.api})"

    @property
    def machine(self) -> Machine:
        """The phone as reports name it: no serial number."""
        kind = "Android emulator" if self.emulator else ""
        words = ", ".join(word for word in (kind, self.chip) if word)
        return Machine(
            processor=f"{self.name or 'unknown device'}{f' ({words})' if words else ''}",
            arch=self.arch,
            cores=len(self.cores),
            isa=self.isa,
            system=f"{self.android}, {self.abi}, Linux {self.kernel}",
        )

    def _first(self, *names: str) -> str:
        """The first of these that is there, as a line that people read."""
        texts = ("".join(filter(str.isprintable, self.properties.get(name, "")))[:_LONGEST] for name in names)
        return next((text for text in map(str.strip, texts) if text), "")


def ask(client: Client) -> PhoneFacts:
    """Ask the phone.

    Raises:
        UnservedError: it is not there any more, or no Android.
    """
    done = client.shell("; ".join(f"echo '{_MARK}{name}'; {command}" for name, command in _ASKED.items()))
    parts: dict[str, str] = {}
    for part in done.out.split(_MARK)[1:]:
        name, _, text = part.partition("\n")
        parts[name.strip()] = text
    properties = dict(re.findall(r"^\[(.*?)\]: \[(.*?)\]\r?$", parts.get("properties", ""), re.M))
    if not properties:
        raise UnservedError(f"{client.address} is no Android: it has no properties.", hint="Is it a phone or a tablet?")
    level = properties.get("ro.build.version.sdk", "")
    flags = set((re.search(r"^(?:Features|flags)\s*:(.*)$", parts["processor"], re.M) or ["", ""])[1].split())
    memory = re.search(r"^MemAvailable:\s+(\d+) kB", parts["memory"], re.M)
    return PhoneFacts(
        properties=properties,
        api=int(level) if level.isdigit() else 0,
        abi=properties.get("ro.product.cpu.abi", ""),
        emulator=any(properties.get(name) == "1" for name in ("ro.kernel.qemu", "ro.boot.qemu")),
        memory=int(memory[1]) * 1024 if memory else None,
        cores=_fastest_first(parts["cores"], parts["fastest"]),
        isa=tuple(flag for flag in ISA_FLAGS if flag in flags),
        kernel=re.split(r"[-\s]", parts["kernel"].strip())[0],
    )


def _fastest_first(allowed: str, clocks: str) -> tuple[int, ...]:
    """The cores that may be used, by their highest clock; of equal ones the last, since the first serves interrupts."""
    highest = {int(core): int(clock) for core, clock in re.findall(r"/cpu(\d+)/cpufreq/\w+:(\d+)", clocks)}
    cores = listed(allowed.partition(":")[2])
    return tuple(sorted(cores, key=lambda core: (highest.get(core, 0), core), reverse=True)) or (0,)


def listed(text: str) -> Sequence[int]:
    """The numbers of a list of the kernel's: `0-3,7`."""
    found: list[int] = []
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found += range(int(first), int(last or first) + 1)
    return found
