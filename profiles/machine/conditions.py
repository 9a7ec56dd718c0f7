"""The state a machine measures in: governor, clocks, temperatures, throttling, power mode, load.

Read once under load before and once after the samples are taken, so that two readings compare. Sources are Linux'
sysfs and procfs, `vcgencmd` (Raspberry Pi), `nvpmodel` (Jetson) and `nvidia-smi`; what a machine does not tell is named
with the reason, never guessed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .environment import now
from .kernel_files import read_number, read_text

RunTool = Callable[[Sequence[str]], str | None]
CLOCK_DROP = 0.05  # a clock that fell by more than this invalidates a measurement

# Raspberry Pi firmware, `vcgencmd get_throttled`: bits 0-3 hold now, bits 16-19 have happened since the boot.
PI_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
# NVML's nvmlClocksEventReasons that slow a GPU down against its will; being idle (0x1) or set so (0x2) does not.
NVIDIA_BITS = {0x4: "power cap", 0x8: "slowdown", 0x20: "thermal", 0x40: "hardware thermal", 0x80: "power brake"}
# How Linux for Tegra calls the GPU of a Jetson among what scales by itself: 17000000.ga10b on an Orin with
# JetPack 5, 17000000.gpu with 6. Its nvidia-smi, where there is one, does not tell the clock.
_TEGRA_GPU = re.compile(r"\.(?:gpu|ga10b|gv11b|gp10b)$")
_NVIDIA_QUERY = ("clocks.sm", "temperature.gpu", "clocks_throttle_reasons.active", "pstate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """One reading.

    Attributes:
        governor: of the usable cores, several joined by `+`; empty where there is none to read.
        clocks: MHz, by core (`cpu0`) or device (`gpu0`).
        temperatures: degrees Celsius, by sensor.
        throttled: what slows the machine down at this moment.
        counters: what only grows: throttle events by core, and ticks of processor time that a hypervisor took
            (`steal`) of all (`ticks`).
        power_mode: of `nvpmodel`, or the GPU's performance state; empty where there is none.
        load: processes that wanted to run, mean of the last minute.
        absent: what this machine does not tell, and why.
    """

    date: str
    governor: str = ""
    clocks: Mapping[str, float] = field(default_factory=dict)
    temperatures: Mapping[str, float] = field(default_factory=dict)
    throttled: tuple[str, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    power_mode: str = ""
    load: float | None = None
    absent: Mapping[str, str] = field(default_factory=dict)


def run_tool(words: Sequence[str]) -> str | None:
    """Standard output of a vendor's tool; None where it is not installed, fails or hangs."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def read_conditions(
    root: Path = Path("/"), run: RunTool = run_tool, cores: Collection[int] | None = None
) -> Conditions:
    """Read what this machine tells.

    Args:
        root: where `sys` and `proc` are mounted.
        run: runs a vendor's tool.
        cores: that count; by default those that this process may use.
    """
    folders = [*_cores(root, cores)]
    cpu, gpu, board = _sysfs(root, folders), _nvidia(run), _board(run)
    governor = "+".join(sorted({text for path in folders if (text := read_text(path / "cpufreq/scaling_governor"))}))
    clocks = {**cpu.clocks, **board.clocks, **gpu.clocks}
    temperatures = {**cpu.temperatures, **board.temperatures, **gpu.temperatures}
    missing = {
        "governor": "" if governor else "there is no cpufreq in sysfs, as in most virtual machines",
        "clocks": "" if clocks else "neither cpufreq, vcgencmd nor nvidia-smi tells them",
        "temperatures": "" if temperatures else "no thermal zone, and neither vcgencmd nor nvidia-smi answers",
        "throttling": "" if cpu.told or board.told or gpu.told else "no throttle counter, and no vendor's tool",
    }
    return Conditions(
        date=now(),
        governor=governor,
        clocks=clocks,
        temperatures=temperatures,
        throttled=(*board.throttled, *gpu.throttled),
        counters={**cpu.counters, **board.counters, **_ticks(root)},
        power_mode=", ".join(text for text in (board.power_mode, gpu.power_mode) if text),
        load=_load(root),
        absent={what: why for what, why in missing.items() if why},
    )


def disturbances(before: Conditions, after: Conditions) -> tuple[str, ...]:
    """Why figures taken between two readings are not the machine's own: throttling, or clocks that fell."""
    found = [f"{text} when it began" for text in before.throttled]
    found += [f"{text} when it ended" for text in after.throttled if text not in before.throttled]
    for name, count in after.counters.items():
        if name not in ("steal", "ticks") and count > before.counters.get(name, count):
            found.append(f"{name}: {count - before.counters[name]} throttle events")
    for name, clock in after.clocks.items():
        first = before.clocks.get(name, clock)
        if clock < (1 - CLOCK_DROP) * first:
            found.append(f"the clock of {name} fell from {first:.0f} to {clock:.0f} MHz")
    return tuple(found)


def stolen(before: Conditions, after: Conditions) -> float | None:
    """Share of the processor's time that a hypervisor gave to others between two readings; None where unknown."""
    ticks = after.counters.get("ticks", 0) - before.counters.get("ticks", 0)
    if ticks <= 0:
        return None
    return (after.counters["steal"] - before.counters["steal"]) / ticks


@dataclass(slots=True, kw_only=True)
class _Found:
    """What one source told; `told` is set where it can tell of throttling."""

    clocks: dict[str, float] = field(default_factory=dict)
    temperatures: dict[str, float] = field(default_factory=dict)
    throttled: tuple[str, ...] = ()
    counters: dict[str, int] = field(default_factory=dict)
    power_mode: str = ""
    told: bool = False


def _cores(root: Path, cores: Collection[int] | None) -> Iterator[Path]:
    """The folders of the cores that count."""
    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    usable = own if cores is None else cores
    yield from (root / f"sys/devices/system/cpu/cpu{core}" for core in sorted(usable))


def _sysfs(root: Path, folders: Sequence[Path]) -> _Found:
    found = _Found()
    for path in folders:
        if (clock := read_number(path / "cpufreq/scaling_cur_freq")) is not None:
            found.clocks[path.name] = clock / 1e3
        if (count := read_number(path / "thermal_throttle/core_throttle_count")) is not None:
            found.counters[path.name] = int(count)
            found.told = True
    gpus = (path for path in sorted((root / "sys/class/devfreq").glob("*")) if _TEGRA_GPU.search(path.name))
    for index, path in enumerate(gpus):
        if (clock := read_number(path / "cur_freq")) is not None:
            found.clocks[f"gpu{index}"] = clock / 1e6
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        if (heat := read_number(zone / "temp")) is not None:
            found.temperatures[read_text(zone / "type") or zone.name] = heat / 1e3
    return found


def _board(run: RunTool) -> _Found:
    """Raspberry Pi and Jetson."""
    found = _Found()
    if match := re.search(r"throttled=(0x[0-9a-fA-F]+)", run(("vcgencmd", "get_throttled")) or ""):
        bits = int(match[1], 16)
        found.throttled = tuple(text for bit, text in PI_BITS.items() if bits >> bit & 1)
        found.counters = {f"{text} since the boot": bits >> (16 + bit) & 1 for bit, text in PI_BITS.items()}
        found.told = True
        if heat := re.search(r"temp=([\d.]+)", run(("vcgencmd", "measure_temp")) or ""):
            found.temperatures["soc"] = float(heat[1])
        if clock := re.search(r"=(\d+)", run(("vcgencmd", "measure_clock", "arm")) or ""):
            found.clocks["arm"] = int(clock[1]) / 1e6
    if match := re.search(r"NV Power Mode: *(.+)", run(("nvpmodel", "-q")) or ""):
        found.power_mode = match[1].strip()
    return found


def _nvidia(run: RunTool) -> _Found:
    found = _Found()
    words = ("nvidia-smi", f"--query-gpu={','.join(_NVIDIA_QUERY)}", "--format=csv,noheader,nounits")
    for index, line in enumerate((run(words) or "").splitlines()):
        clock, heat, bits, state = (part.strip() for part in (*line.split(","), "", "", "")[:4])
        with suppress(ValueError):  # `[N/A]` where a GPU does not tell
            found.clocks[f"gpu{index}"] = float(clock)
        with suppress(ValueError):
            found.temperatures[f"gpu{index}"] = float(heat)
        with suppress(ValueError):
            active = int(bits, 16)
            found.told = True
            found.throttled += tuple(f"gpu{index}: {text}" for bit, text in NVIDIA_BITS.items() if active & bit)
        states = (found.power_mode, f"gpu{index} {state}" if state else "")
        found.power_mode = ", ".join(text for text in states if text)
    return found


def _ticks(root: Path) -> dict[str, int]:
    """Fields of proc(5), `/proc/stat`: user nice system idle iowait irq softirq steal."""
    fields = (read_text(root / "proc/stat").splitlines() or [""])[0].split()[1:9]
    if len(fields) < 8:
        return {}
    return {"steal": int(fields[7]), "ticks": sum(map(int, fields))}


def _load(root: Path) -> float | None:
    words = read_text(root / "proc/loadavg").split()
    return float(words[0]) if words else None
