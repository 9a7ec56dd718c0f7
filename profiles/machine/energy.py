"""Energy, where the machine tells: RAPL counters, INA sensors, Jetson's rails, an NVIDIA GPU's power.

Every source covers more than the inference: a package, a board or a GPU, with whatever else runs on it, idle power
included. So a figure always names its source, and a machine without one gets no figure.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

import numpy as np

from .kernel_files import read_number, read_text

INTERVAL = 0.05  # seconds between two samples of a power sensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What was drawn while inferences ran.

    Attributes:
        joules: in all, of everything that the source covers.
        source: what told, and what it covers.
    """

    joules: float
    inferences: int
    seconds: float
    source: str

    @property
    def per_inference(self) -> float:
        """Joules an inference."""
        return self.joules / self.inferences

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds


class Meter(Protocol):
    """Counts energy between `start` and `stop`."""

    source: str

    def start(self) -> None:
        """Begin."""

    def stop(self) -> float:
        """End; returns joules."""


def find_meter(root: Path = Path("/"), *, gpu: bool = False) -> Meter | str:
    """The best meter of this machine, or why there is none.

    Args:
        root: where `sys` is mounted.
        gpu: the engine runs on an NVIDIA GPU, whose own sensor then goes first.
    """
    reasons: list[str] = []
    for look in ((_gpu,) if gpu else ()) + (_ina, _jetson, _rapl):
        found = look(root)
        if not isinstance(found, str):
            return found
        reasons.append(found)
    return "; ".join(reasons)


@dataclass(slots=True)
class CounterMeter:
    """RAPL: counters of microjoules that wrap around (Linux, `Documentation/power/powercap`)."""

    source: str
    zones: tuple[Path, ...]
    _first: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Read the counters."""
        self._first = [_integer(zone / "energy_uj") for zone in self.zones]

    def stop(self) -> float:
        """Read them again; one that wrapped around once is put right."""
        joules = 0.0
        for zone, first in zip(self.zones, self._first, strict=True):
            grown = _integer(zone / "energy_uj") - first
            joules += (grown if grown >= 0 else grown + _integer(zone / "max_energy_range_uj")) / 1e6
        return joules


@dataclass(slots=True)
class PowerMeter:
    """A sensor of watts, sampled in a thread and integrated by the trapezoidal rule."""

    source: str
    watts: Callable[[], float | None]
    clock: Callable[[], float] = time.perf_counter
    _seen: list[tuple[float, float]] = field(default_factory=list)
    _ended: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Sample until `stop`."""
        self._seen.clear()
        self._ended.clear()
        self._thread = Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """End; the integral over what was sampled."""
        assert self._thread is not None
        self._ended.set()
        self._thread.join()
        times, powers = np.asarray(self._seen).reshape(-1, 2).T
        return float(np.sum(np.diff(times) * (powers[1:] + powers[:-1]) / 2))

    def _sample(self) -> None:
        while True:
            last = self._ended.is_set()
            if (power := self.watts()) is not None:
                self._seen.append((self.clock(), power))
            if last:
                return
            self._ended.wait(INTERVAL)


def _rapl(root: Path) -> Meter | str:
    zones = sorted(zone for zone in (root / "sys/class/powercap").glob("*-rapl:*") if zone.name.count(":") == 1)
    packages = tuple(zone for zone in zones if read_text(zone / "name").startswith("package"))
    if not packages:
        return "no RAPL counter in sysfs"
    if not all(read_text(zone / "energy_uj") for zone in packages):
        return "the RAPL counters are readable by root only"
    return CounterMeter(f"RAPL, {len(packages)} processor package(s), all that runs on them", packages)


def _ina(root: Path) -> Meter | str:
    """INA2xx and INA3221 in hwmon: microwatts, or millivolts and milliamperes of each rail."""
    rails = {label: watts for chip in (root / "sys/class/hwmon").glob("hwmon*") for label, watts in _rails(chip)}
    if not rails:
        return "no INA power sensor in sysfs"
    total = next((label for label in rails if label.upper() in ("VDD_IN", "POM_5V_IN")), None)
    chosen = rails if total is None else {total: rails[total]}

    def watts() -> float | None:
        found = [read() for read in chosen.values()]
        return None if None in found else sum(power for power in found if power is not None)

    if watts() is None:
        return "the INA power sensor is not readable by this user"
    return PowerMeter(f"INA sensor, rail {' + '.join(sorted(chosen))}, all that it feeds", watts)


def _rails(chip: Path) -> Iterator[tuple[str, Callable[[], float | None]]]:
    if not read_text(chip / "name").startswith("ina"):
        return
    for file in sorted(chip.glob("power*_input")):
        yield read_text(chip / file.name.replace("_input", "_label")) or f"{chip.name} {file.stem}", _micro(file)
    for current in sorted(chip.glob("curr*_input")):
        number = re.sub(r"\D", "", current.name)
        volts = chip / f"in{number}_input"
        label = read_text(chip / f"in{number}_label")
        if volts.exists() and label != "sum of shunt voltages":
            yield label or f"{chip.name} rail {number}", _product(volts, current)


def _micro(file: Path) -> Callable[[], float | None]:
    return lambda: None if (found := read_number(file)) is None else found / 1e6


def _product(millivolts: Path, milliamperes: Path) -> Callable[[], float | None]:
    def watts() -> float | None:
        volts, amperes = read_number(millivolts), read_number(milliamperes)
        return None if volts is None or amperes is None else volts * amperes / 1e6

    return watts


def tegrastats_watts(line: str) -> float | None:
    """The board's power in a line of `tegrastats` (`VDD_IN 4953mW/4953mW`, on older boards `POM_5V_IN 2000/2000`)."""
    match = re.search(r"\b(?:VDD_IN|POM_5V_IN) (\d+)(?:mW)?/\d+", line)
    return None if match is None else int(match[1]) / 1e3


def _jetson(root: Path) -> Meter | str:
    def watts() -> float | None:
        return tegrastats_watts(_first_line(("tegrastats", "--interval", "50")))

    if watts() is None:
        return "no tegrastats that tells a rail"
    return PowerMeter("tegrastats, rail VDD_IN, the whole board", watts)


def _gpu(root: Path) -> Meter | str:
    def watts() -> float | None:
        try:
            line = _first_line(("nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-i", "0"))
            return float(line)
        except ValueError:
            return None

    if watts() is None:
        return "nvidia-smi tells no power"
    return PowerMeter("nvidia-smi, gpu0, all that runs on it", watts)


def _first_line(words: tuple[str, ...]) -> str:
    """The first line that a tool prints; it is ended then, as tegrastats never ends by itself."""
    try:
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            try:
                return process.stdout.readline()
            finally:
                process.kill()
    except OSError:
        return ""


def _integer(path: Path) -> int:
    return int(read_text(path) or 0)
