"""What the machine is, where its system tells it."""

import subprocess
from typing import Optional


def text_of(path: str) -> str:
    """What a file of the system says; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def memory() -> Optional[int]:
    """Bytes that can be had without swapping; None where the system does not tell."""
    for line in text_of("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def jetpack() -> str:
    """The release of Linux for Tegra, as NVIDIA writes it; empty on other machines."""
    first = text_of("/etc/nv_tegra_release").splitlines()[:1]
    return first[0].strip("# ") if first else ""


def power_mode() -> str:
    """Of a Jetson; empty where there is none."""
    try:
        done = subprocess.run(
            ["nvpmodel", "-q"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return " ".join(done.stdout.decode(errors="replace").split())
