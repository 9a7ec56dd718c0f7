"""Whether two measurements compare at all: the one list of what has to be equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..machine.environment import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a latency was taken under.

    Attributes:
        inputs: what was fed, in words; their order does not matter.
        system: operating system; empty where the two may differ in it.
        cores: how many the process was bound to; None likewise.
        runtime: with its version, as `openvino 2026.4.1`; two runtimes compare, two versions of one do not.
    """

    machine: Machine
    threads: int
    inputs: tuple[str, ...]
    system: str = ""
    cores: int | None = None
    runtime: str = ""


def differences(a: Circumstances, b: Circumstances) -> Iterator[str]:
    """Why latencies taken under them do not compare, a clause each; none where they do."""
    if (a.machine.processor, a.machine.arch) != (b.machine.processor, b.machine.arch):
        yield f"A was measured on {a.machine}, B on {b.machine}"
    if a.system != b.system:
        yield f"A was measured under {a.system}, B under {b.system}"
    if a.threads != b.threads:
        yield f"A ran with {a.threads} threads, B with {b.threads}"
    if a.cores != b.cores:
        yield f"A was bound to {a.cores} cores, B to {b.cores}"
    if a.runtime != b.runtime and a.runtime.split()[:1] == b.runtime.split()[:1]:
        yield f"A ran on {a.runtime}, B on {b.runtime}"
    if sorted(a.inputs) != sorted(b.inputs):
        yield f"A was fed {', '.join(a.inputs)}, B {', '.join(b.inputs)}"
