"""How a phone is doing: clocks, governor, heat, throttling, battery saver, and how long a process waits for a core."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ....profiles.machine.conditions import Conditions, read_conditions
from ....profiles.machine.held import temporary
from ....profiles.machine.waiting import Waits
from .client import Client

_READ = (
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/class/thermal/thermal_zone*/type",
    "/proc/loadavg",
    "/proc/stat",
)
_MARK = "@edgepress"
# What android.os.PowerManager calls the states of THERMAL_STATUS_*.
_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


def conditions(client: Client, cores: tuple[int, ...]) -> Conditions:
    """How it is doing now; what it does not let a shell read is named.

    Args:
        cores: that programs there may use.

    Raises:
        UnservedError: it is not there any more.
    """
    said = client.shell(
        f"grep -s . {' '.join(_READ)} /dev/null; echo {_MARK}; dumpsys thermalservice 2>/dev/null; "
        f"echo {_MARK}; settings get global low_power 2>/dev/null; true"
    ).out.split(_MARK)
    limits = re.findall(r"/(cpu\d+)/cpufreq/scaling_max_freq:(\d+)", said[0])
    with temporary() as root:
        for path, text in _files(said[0]):
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as sink:
                sink.write(f"{text}\n")
        found = read_conditions(root, lambda words: None, cores)
    # The clock at this moment is that of a shell, with all engines at rest; heat lowers the limit.
    clocks = {f"{core}, at most": int(limit) / 1e3 for core, limit in limits if int(core[3:]) in cores}
    return _with_service(replace(found, clocks=clocks), said[1], said[2].strip())


def waits(client: Client, tasks: Path) -> Waits:
    """(time on a core, time without one) of each thread of a process there."""
    said = client.shell(f"grep -s . {tasks}/*/schedstat /dev/null; true").out
    pairs = re.findall(r"/(\d+)/schedstat:(\d+) (\d+)", said)
    return {task: (int(ran), int(waited)) for task, ran, waited in pairs}


def _files(said: str) -> Iterator[tuple[str, str]]:
    """(path, line) of each line that `grep` found; paths have no colon."""
    for line in said.splitlines():
        path, colon, text = line.partition(":")
        if colon and path.startswith(("/sys/", "/proc/")):
            yield path, text


def _with_service(found: Conditions, service: str, saver: str) -> Conditions:
    """With what Android itself says, which a shell may read where the files of the kernel are closed to it."""
    absent = dict(found.absent)
    temperatures = dict(found.temperatures)
    throttled = found.throttled
    current = service.rpartition("Current temperatures from HAL")[2]
    for heat, name in re.findall(r"Temperature\{mValue=(-?[\d.]+),[^}]*?mName=([^,}]+)", current):
        temperatures.setdefault(name, float(heat))
    if status := re.search(r"Thermal Status: (\d)", service):
        absent.pop("throttling", None)
        if level := int(status[1]):
            throttled = (*throttled, f"Android's thermal status is {_STATUS[min(level, len(_STATUS) - 1)]}")
    for name, there in (("temperatures", temperatures), ("clocks", found.clocks)):
        if there:
            absent.pop(name, None)
    told = {
        "governor": "Android lets no shell read it",
        "clocks": "Android lets no shell read them",
        "temperatures": "neither a thermal zone nor Android's thermal service tells them",
        "throttling": "Android's thermal service does not tell",
    }
    return replace(
        found,
        temperatures=temperatures,
        throttled=throttled,
        power_mode={"0": "battery saver off", "1": "battery saver on"}.get(saver, ""),
        absent={name: told.get(name, why) for name, why in absent.items()},
    )
