"""The machine that an engine is built and run on: what decides its figures, read where the system tells it."""

import glob
import os
import platform
import re
import subprocess
from typing import Any, Dict, List, Optional


def read_system_file(path: str) -> str:
    """What a file of the system says, without the zero that ends a text of a device tree; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return ""


def answer_of(*command: str) -> str:
    """What a tool prints; empty where it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def power_mode() -> Dict[str, str]:
    """Name and id of the power mode of a Jetson; empty on other machines. Ids differ between modules."""
    said = answer_of("nvpmodel", "-q")
    name = re.search(r"NV Power Mode: *(.+)", said)
    number = re.search(r"^\s*(\d+)\s*$", said, re.MULTILINE)
    return {} if name is None else {"name": name.group(1).strip(), "id": number.group(1) if number else ""}


def power_note() -> str:
    """The power mode in a sentence; empty on what is no Jetson."""
    mode = power_mode()
    return "Built in power mode {name} (nvpmodel id {id}).".format(**mode) if mode else ""


def clocks(base: str = "/sys") -> Dict[str, Dict[str, float]]:
    """Clock now and the highest that is allowed, in MHz: of each core, and of what scales by itself, as the GPU."""
    found: Dict[str, Dict[str, float]] = {}
    cores = os.path.join(base, "devices/system/cpu/cpu[0-9]*/cpufreq")
    for path in sorted(glob.glob(cores)):
        _note(found, os.path.basename(os.path.dirname(path)), path, "scaling_cur_freq", "scaling_max_freq", 1e3)
    for path in sorted(glob.glob(os.path.join(base, "class/devfreq/*"))):
        _note(found, os.path.basename(path), path, "cur_freq", "max_freq", 1e6)
    return found


def _note(found: Dict[str, Dict[str, float]], name: str, path: str, now: str, most: str, unit: float) -> None:
    files = {"now": now, "most": most}
    said = {key: read_system_file(os.path.join(path, file)) for key, file in files.items()}
    numbers = {key: float(text) / unit for key, text in said.items() if text.isdigit()}
    if numbers:
        found[name] = numbers


def module_name() -> str:
    """The module or the board, as its device tree names it; empty where there is none."""
    return read_system_file("/proc/device-tree/model")


def cpu_model() -> str:
    """The processor, as the kernel names it; empty where it does not."""
    named = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", read_system_file("/proc/cpuinfo"), re.MULTILINE)
    return named.group(1).strip() if named else ""


def jetpack_release() -> Dict[str, str]:
    """The release of Linux for Tegra, and of JetPack where its package is installed."""
    first = read_system_file("/etc/nv_tegra_release").splitlines()[:1]
    found = {"l4t": first[0].strip("# ") if first else "", "jetpack": answer_of(*_PACKAGE)}
    return {name: text for name, text in found.items() if text}


_PACKAGE = ("dpkg-query", "--show", "--showformat=${Version}", "nvidia-jetpack")


def versions_here(trt: Any, driver: Optional[str]) -> Dict[str, str]:
    """Of what decides an engine: TensorRT, the driver's CUDA, Python, the kernel, JetPack."""
    found = {trt.__name__: str(trt.__version__), "python": platform.python_version(), "linux": platform.release()}
    if driver:
        found["cuda"] = driver
    found.update(jetpack_release())
    return found


def unknowns(found: Dict[str, Any]) -> List[str]:
    """What this machine does not tell, of what a record has."""
    return sorted(name for name, value in found.items() if not value)
