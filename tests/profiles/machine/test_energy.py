"""Energy from counters and sensors, laid out as Linux lays them out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgepress.profiles.machine.energy import Energy, PowerMeter, find_meter, tegrastats_watts


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


@pytest.fixture(autouse=True)
def no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_a_machine_that_tells_nothing_says_so(tmp_path: Path) -> None:
    why = find_meter(tmp_path)
    assert isinstance(why, str)
    assert why == "no INA power sensor in sysfs; no tegrastats that tells a rail; no RAPL counter in sysfs"
    assert str(find_meter(tmp_path, gpu=True)).startswith("nvidia-smi tells no power; ")


def test_rapl_adds_up_packages_and_survives_a_counter_that_wraps(tmp_path: Path) -> None:
    zones = [tmp_path / f"sys/class/powercap/intel-rapl:{index}" for index in range(2)]
    for zone, first in zip(zones, (1_000_000, 262_000_000_000), strict=True):
        write(zone / "name", f"package-{zone.name[-1]}")
        write(zone / "energy_uj", first)
        write(zone / "max_energy_range_uj", 262_143_328_850)
    write(tmp_path / "sys/class/powercap/intel-rapl:0:0/name", "core")
    write(tmp_path / "sys/class/powercap/intel-rapl:0:0/energy_uj", 5)
    meter = find_meter(tmp_path)
    assert not isinstance(meter, str)
    meter.start()
    write(zones[0] / "energy_uj", 3_500_000)
    write(zones[1] / "energy_uj", 1_000_000)
    assert meter.stop() == pytest.approx(2.5 + (262_143_328_850 - 262_000_000_000 + 1_000_000) / 1e6)
    assert "2 processor package(s)" in meter.source


def test_rapl_for_root_only_is_said(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/powercap/intel-rapl:0/name", "package-0")
    assert "readable by root only" in str(find_meter(tmp_path))


def test_an_ina3221_of_a_jetson_takes_the_rail_that_feeds_all(tmp_path: Path) -> None:
    chip = tmp_path / "sys/class/hwmon/hwmon1"
    write(chip / "name", "ina3221")
    for number, (label, volts, amperes) in enumerate((("VDD_IN", 5000, 1000), ("VDD_SOC", 5000, 300)), 1):
        write(chip / f"in{number}_label", label)
        write(chip / f"in{number}_input", volts)
        write(chip / f"curr{number}_input", amperes)
    meter = find_meter(tmp_path)
    assert not isinstance(meter, str)
    assert "VDD_IN" in meter.source
    begun = time.perf_counter()
    meter.start()
    time.sleep(0.2)
    joules = meter.stop()
    assert joules == pytest.approx(5.0 * (time.perf_counter() - begun), rel=0.2)  # 5 V x 1 A


def test_an_ina_with_a_power_register_and_several_rails_is_summed(tmp_path: Path) -> None:
    for index, power in enumerate((1_500_000, 500_000)):
        write(tmp_path / f"sys/class/hwmon/hwmon{index}/name", "ina226")
        write(tmp_path / f"sys/class/hwmon/hwmon{index}/power1_input", power)
    meter = find_meter(tmp_path)
    assert isinstance(meter, PowerMeter)
    assert meter.watts() == pytest.approx(2.0)


def test_power_is_integrated_by_the_trapezoidal_rule() -> None:
    times, powers = iter([0.0, 1.0, 3.0]), iter([2.0, 4.0, 4.0])
    meter = PowerMeter("a bench", lambda: next(powers, None), lambda: next(times))
    meter.start()
    time.sleep(0.3)
    assert meter.stop() == pytest.approx(3.0 + 8.0)


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        ("RAM 2448/7620MB CPU [5%@1510] cpu@47.5C VDD_IN 4953mW/4953mW VDD_CPU_GPU_CV 800mW/800mW", 4.953),
        ("RAM 1/3956MB POM_5V_IN 2211/2190 POM_5V_GPU 0/0", 2.211),
        ("RAM 2448/7620MB", None),
        ("", None),
    ],
)
def test_lines_of_tegrastats(line: str, watts: float | None) -> None:
    assert tegrastats_watts(line) == watts


def test_tegrastats_that_never_ends_is_read_and_ended(tmp_path: Path) -> None:
    tool = tmp_path / "bin/tegrastats"
    write(tool, "#!/bin/sh\nwhile true; do echo 'VDD_IN 3000mW/3000mW'; /bin/sleep 0.01; done")
    tool.chmod(0o755)
    meter = find_meter(tmp_path)
    assert isinstance(meter, PowerMeter)
    assert meter.watts() == 3.0
    assert "tegrastats" in meter.source


def test_figures_of_an_inference() -> None:
    found = Energy(joules=10.0, inferences=2000, seconds=4.0, source="a bench")
    assert (found.per_inference, found.watts) == (0.005, 2.5)
