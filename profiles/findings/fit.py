"""Whether a decoder fits into the memory of a device, its full context included."""

from __future__ import annotations

import re

from ..device.target import Target
from .language import Footprint
from .report import megabytes

# Left to the system, the runtime and its buffers, where nothing was measured there: what a Linux without a desktop and
# a process of a runtime take. A stated figure, not a measured one.
ALLOWANCE = 512 << 20
_UNITS = {"GB": 1 << 30, "GiB": 1 << 30, "MB": 1 << 20, "MiB": 1 << 20}  # memory is built in powers of two


def device_memory(target: Target) -> int | None:
    """Bytes of the target's memory, of several models the largest; None where it does not state them."""
    fact = target.figures.get("memory")
    if fact is None or fact.unit not in _UNITS:
        return None
    sizes = [float(size) for size in re.findall(r"\d+(?:\.\d+)?", str(fact.value))]
    return int(max(sizes) * _UNITS[fact.unit]) if sizes else None


def why_no_room(memory: Footprint, target: Target) -> str:
    """Why it does not fit, one clause; empty where it does, or where the target does not state its memory."""
    there = device_memory(target)
    if there is None or memory.full + ALLOWANCE <= there:
        return ""
    parts = f"{megabytes(memory.weights)} of weights, {megabytes(memory.cache)} of keys and values"
    return (
        f"it needs {megabytes(memory.full)} at its full context of {memory.context:,} tokens ({parts}) and "
        f"{megabytes(ALLOWANCE)} for the system and the runtime, of the {megabytes(there)} that {target.name} has"
    )
