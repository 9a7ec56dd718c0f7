"""Times of inferences, and how the machine is while they are taken."""

import glob
import os
import re
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from .machine import clocks, power_mode, read_system_file


def now_ns() -> int:
    """A clock that never goes back, in nanoseconds; `perf_counter_ns` came with Python 3.7."""
    return int(time.perf_counter() * 1e9)


def times_of(call: Callable[[], Any], count: Optional[int] = None, seconds: Optional[float] = None) -> List[int]:
    """Nanoseconds of each of so many calls, or of those that begin within so many seconds."""
    taken: List[int] = []
    begin = now_ns()
    end = None if seconds is None else begin + int(seconds * 1e9)
    while len(taken) != count and (end is None or begin < end):
        call()
        stop = now_ns()
        taken.append(stop - begin)
        begin = now_ns()
    return taken


def rate_of(calls: Sequence[Callable[[], Any]], samples: int, seconds: float) -> float:
    """Samples a second over all of these, each called in a thread of its own until the time is over, at least once."""
    rates: List[float] = []

    def run(call: Callable[[], Any]) -> None:
        begun, count = now_ns(), 0
        while count == 0 or now_ns() - begun < seconds * 1e9:
            call()
            count += 1
        rates.append(count * samples * 1e9 / (now_ns() - begun))

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates) if len(rates) == len(calls) else 0.0


def resident_bytes() -> Tuple[int, int]:
    """Now, and at most so far, of this process: VmRSS and VmHWM of proc(5)."""
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", read_system_file("/proc/self/status"), re.MULTILINE))
    return int(found.get("VmRSS", 0)) * 1024, int(found.get("VmHWM", 0)) * 1024


def waits_of(tasks: str) -> Dict[str, Tuple[int, int]]:
    """Time on a core and time without one, in nanoseconds, of each thread below a directory of proc(5)."""
    found = {}
    for path in glob.glob(os.path.join(tasks, "*", "schedstat")):
        words = read_system_file(path).split()
        if len(words) >= 2:  # a thread that has ended meanwhile says nothing
            found[os.path.basename(os.path.dirname(path))] = (int(words[0]), int(words[1]))
    return found


def conditions_now(base: str = "/sys") -> Dict[str, Any]:
    """Clocks in MHz, temperatures, power mode and load, in the fields of edgepress' `Conditions`.

    Throttling is what it does not tell: a clock that falls shows it.
    """
    temperatures = {}
    for zone in sorted(glob.glob(os.path.join(base, "class/thermal/thermal_zone*"))):
        heat = read_system_file(os.path.join(zone, "temp"))
        if re.match(r"-?\d+$", heat):
            name = read_system_file(os.path.join(zone, "type")) or os.path.basename(zone)
            temperatures[name] = int(heat) / 1e3
    governors = glob.glob(os.path.join(base, "devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    load = read_system_file("/proc/loadavg").split()
    known = {name: said["now"] for name, said in clocks(base).items() if "now" in said and _counts(name)}
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "governor": "+".join(sorted(set(filter(None, map(read_system_file, governors))))),
        "clocks": known,
        "temperatures": temperatures,
        "power_mode": power_mode().get("name", ""),
        "load": float(load[0]) if load else None,
        "absent": {"throttling": "a device with this Python tells of no throttle counter"},
    }


def _counts(name: str) -> bool:
    """Cores, and the GPU as Linux for Tegra calls it; what else scales by itself may rest while an engine runs."""
    return re.search(r"^cpu\d+$|\.(?:gpu|ga10b|gv11b|gp10b)$", name) is not None
