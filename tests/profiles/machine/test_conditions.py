"""The state of a machine, read from trees and tools as real devices have them."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.profiles.machine.conditions import Conditions, disturbances, read_conditions, run_tool, stolen
from edgepress.profiles.machine.memory import resident, trim

CORE = min(os.sched_getaffinity(0))
# What the tools print: Raspberry Pi firmware, nvpmodel of JetPack 6, nvidia-smi with `csv,noheader,nounits`.
RASPBERRY = {
    "get_throttled": "throttled=0x50005\n",
    "measure_temp": "temp=82.3'C\n",
    "measure_clock": "frequency(0)=1500398464\n",
}


def silent(words: Sequence[str]) -> str | None:
    return None


def raspberry(words: Sequence[str]) -> str | None:
    return RASPBERRY[words[1]] if words[0] == "vcgencmd" else None


def jetson(words: Sequence[str]) -> str | None:
    return "NV Power Mode: MAXN_SUPER\n2\n" if words[0] == "nvpmodel" else None


def two_gpus(words: Sequence[str]) -> str | None:
    return "1980, 41, 0x0000000000000001, P0\n990, 88, 0x0000000000000060, P2\n" if words[0] == "nvidia-smi" else None


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    cpu = f"sys/devices/system/cpu/cpu{CORE}"
    return tree(
        tmp_path,
        {
            f"{cpu}/cpufreq/scaling_governor": "powersave",
            f"{cpu}/cpufreq/scaling_cur_freq": "2400000",
            f"{cpu}/thermal_throttle/core_throttle_count": "7",
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
            "sys/class/thermal/thermal_zone0/temp": "61000",
            "proc/stat": "cpu  100 0 50 800 10 0 5 35 0 0\ncpu0 1 2 3",
            "proc/loadavg": "1.50 1.00 0.50 1/200 4242",
        },
    )


def test_sysfs_of_a_pc(laptop: Path) -> None:
    found = read_conditions(laptop, silent)
    assert found.governor == "powersave"
    assert found.clocks == {f"cpu{CORE}": 2400.0}
    assert found.temperatures == {"x86_pkg_temp": 61.0}
    assert found.counters == {f"cpu{CORE}": 7, "steal": 35, "ticks": 1000}
    assert found.load == 1.5
    assert found.absent == {}


def test_what_a_machine_does_not_tell_is_named_with_the_reason(tmp_path: Path) -> None:
    found = read_conditions(tmp_path, silent)
    assert set(found.absent) == {"governor", "clocks", "temperatures", "throttling"}
    assert all(found.absent.values())
    assert (found.clocks, found.temperatures, found.throttled) == ({}, {}, ())
    assert found.load is None


def test_a_raspberry_that_throttles(tmp_path: Path) -> None:
    found = read_conditions(tmp_path, raspberry)
    assert found.throttled == ("under-voltage", "throttled")
    assert found.temperatures == {"soc": 82.3}
    assert found.clocks == {"arm": pytest.approx(1500.4, abs=0.1)}
    assert "throttling" not in found.absent
    assert disturbances(found, found) == ("under-voltage when it began", "throttled when it began")


def test_a_throttling_between_two_readings_is_seen_in_what_the_firmware_remembers(tmp_path: Path) -> None:
    calm = read_conditions(tmp_path, lambda words: raspberry(words) and RASPBERRY[words[1]].replace("50005", "0"))
    later = read_conditions(tmp_path, lambda words: raspberry(words) and RASPBERRY[words[1]].replace("50005", "40000"))
    assert later.throttled == ()
    assert disturbances(calm, later) == ("throttled since the boot: 1 throttle events",)


def test_power_mode_of_a_jetson_and_gpus(tmp_path: Path) -> None:
    devices = {"17000000.ga10b/cur_freq": "918000000", "15340000.vic/cur_freq": "115200000"}
    orin = tree(tmp_path / "orin", {f"sys/class/devfreq/{name}": text for name, text in devices.items()})
    found = read_conditions(orin, jetson)
    assert found.power_mode == "MAXN_SUPER"
    assert found.clocks == {"gpu0": 918.0}
    found = read_conditions(tmp_path, two_gpus)
    assert found.clocks == {"gpu0": 1980.0, "gpu1": 990.0}
    assert found.temperatures == {"gpu0": 41.0, "gpu1": 88.0}
    assert found.throttled == ("gpu1: thermal", "gpu1: hardware thermal")
    assert found.power_mode == "gpu0 P0, gpu1 P2"
    silent_gpu = read_conditions(tmp_path, lambda words: two_gpus(words) and "[N/A], [N/A], [N/A], [N/A]\n")
    assert (silent_gpu.clocks, silent_gpu.temperatures, silent_gpu.throttled) == ({}, {}, ())


def test_a_fallen_clock_and_new_throttle_events_disturb(laptop: Path) -> None:
    before = read_conditions(laptop, silent)
    core = f"cpu{CORE}"
    assert disturbances(before, before) == ()
    assert disturbances(before, replace(before, clocks={core: 2400 * 0.96})) == ()
    fallen = replace(before, clocks={core: 2000.0}, counters={**before.counters, core: 9, "steal": 95, "ticks": 1400})
    said = (f"{core}: 2 throttle events", f"the clock of {core} fell from 2400 to 2000 MHz")
    assert disturbances(before, fallen) == said
    assert stolen(before, fallen) == pytest.approx(60 / 400)
    assert stolen(Conditions(date=""), Conditions(date="")) is None


def test_this_machine_answers_or_says_why_not() -> None:
    found = read_conditions()
    for what, value in (("governor", found.governor), ("clocks", found.clocks), ("temperatures", found.temperatures)):
        assert bool(value) != (what in found.absent)
    assert found.counters["ticks"] > 0
    assert stolen(found, read_conditions()) is None or 0 <= stolen(found, read_conditions()) <= 1  # type: ignore[operator]


def test_a_tool_that_is_missing_or_fails_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_tool(("nvidia-smi",)) is None
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\necho '1000, 50, 0x0, P0'\n")
    script.chmod(0o755)
    assert run_tool(("nvidia-smi",)) == "1000, 50, 0x0, P0\n"
    assert read_conditions(tmp_path).clocks == {"gpu0": 1000.0}
    script.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert run_tool(("nvidia-smi",)) is None


def test_memory_of_this_process_grows_by_what_it_holds() -> None:
    before, _ = resident()
    held = mmap.mmap(-1, 50_000_000)  # fresh pages: what was freed in this process before may serve an array
    for page in range(0, len(held), 4096):  # which is what makes it resident, and no second copy beside it
        held[page] = 1
    now, peak = resident()
    assert 45e6 < now - before < 80e6
    assert peak >= now
    held.close()
    assert resident()[0] < now - 40e6
    assert resident(Path("/nothing")) == (0, 0)


def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    import numpy as np

    # Blocks below the size that is mapped alone, every second of which is kept: freed ones are holes in between.
    blocks = [np.ones(12_000) for _ in range(1000)]
    kept = blocks[::2]
    before, _ = resident()
    del blocks
    trim()
    assert resident()[0] < before - 30e6
    assert len(kept) == 500
