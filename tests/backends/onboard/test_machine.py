"""What decides figures on a Jetson, read as its system tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepress.backends.onboard.machine import clocks, power_mode, power_note


def test_power_mode_and_clocks_are_those_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nvpmodel prints on a Jetson, and two trees of sysfs."""
    (tool := tmp_path / "nvpmodel").write_text("#!/bin/sh\necho 'NV Fan Mode:quiet\nNV Power Mode: 15W\n0'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert power_mode() == {"name": "15W", "id": "0"}
    assert power_note() == "Built in power mode 15W (nvpmodel id 0)."
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert power_mode() == {}
    assert power_note() == ""
    for name, text in {
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600",
        "devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1510400",
        "class/devfreq/17000000.ga10b/cur_freq": "306000000",
        "class/devfreq/17000000.ga10b/max_freq": "624750000",
        "class/devfreq/odd/cur_freq": "none",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert clocks(str(tmp_path)) == {
        "cpu0": {"now": 729.6, "most": 1510.4},
        "17000000.ga10b": {"now": 306.0, "most": 624.75},
    }
