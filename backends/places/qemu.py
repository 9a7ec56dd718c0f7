"""ARM64 code on another processor, by QEMU's user mode: what an engine computes on ARM, and never how fast.

The engine is opened by the aarch64 wheel of its runtime, whose kernels are ARM's own. They differ from core to core, so
the target's core is emulated where it has one.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.machine.environment import Machine, this_machine, usable_cores
from ...profiles.machine.fresh import module_command
from ..base import Engine, Graph, Rejection
from . import emulation
from .base import Fidelity, Place
from .elsewhere import Elsewhere
from .emulation import Emulation
from .host import MODULE, Channel, Here, Piped

RUNTIME = "onnxruntime"
ARCH = "aarch64"
# QEMU computes SVE element by element: an int8 MiniLM takes 4.4 s of a processor for 96 tokens with it, 0.7 s without
# (QEMU 7.2, onnxruntime 1.27.0).
LEAN = f"{emulation.EVERYTHING},sve=off"
# Seconds that a process may be silent: emulated code is many times slower.
PATIENCE = 1800.0


class Emulated(Here):
    """This machine's files and kernel, another processor."""

    def __init__(self, installed: Emulation, core: str) -> None:
        self._installed, self._core = installed, core

    def start(self, job: Path) -> Channel:
        """Start it under QEMU."""
        command = self._installed.command(self._core, *module_command(MODULE, str(job))[1:])
        return Piped(command, self._installed.environment(self._installed.own_code()))

    def cores(self, count: int) -> tuple[int, ...]:
        """Any: nothing is timed."""
        return ()

    def hint(self, doing: str) -> str:
        """QEMU itself, or the wheel under it, may be at fault."""
        return (
            f"It ran under emulation ({self._installed.said()}), which may itself be at fault: "
            "run `edgepress verify` on the device."
        )


class Qemu(Elsewhere):
    """Engines of onnxruntime on an emulated ARM64 processor."""

    name = "qemu"
    address = "qemu://arm64"
    where = "under emulation"
    order = -10  # before this processor itself, where both only emulate the device
    timeout = PATIENCE

    def __init__(self, *, lean: bool = False) -> None:
        """A place that emulates everything, or, lean, no SVE where a target names no core."""
        self._lean = lean
        self.name = f"{type(self).name} without SVE" if lean else type(self).name

    def for_scores(self, target: Target) -> Place:
        """Without SVE, whose kernels the golden inputs and the samples have run through."""
        return Qemu(lean=True) if self._core(target) == emulation.EVERYTHING else self

    @classmethod
    def at(cls, rest: str) -> Place:
        """The place at `qemu://arm64`."""
        if rest.rstrip("/") not in ("arm64", ARCH):
            raise InputError(f"qemu://{rest} is no processor that is emulated.", hint=f"Give {cls.address}.")
        return cls()

    def why_not(self, target: Target) -> str:
        """Why no engine of the target can be opened there."""
        if target.backend != RUNTIME:
            return f"{target.name} runs {target.backend}, and only {RUNTIME} is emulated"
        if target.arch not in ("any", ARCH):
            return f"{target.name} is {target.arch}, and {ARCH} is emulated"
        found = emulation.find()
        return found if isinstance(found, str) else ""

    def remedy(self, target: Target) -> str:
        """What to install."""
        return emulation.remedy() if target.backend == RUNTIME and target.arch in ("any", ARCH) else ""

    def evidence(self, target: Target) -> Fidelity:
        """Never what the device does."""
        return "emulated"

    def why_unmeasured(self, target: Target) -> str:
        """Why no latency is taken."""
        return self.why_not(target) or "an emulated processor's times say nothing of a device"

    def why_not_built(self, target: Target) -> str:
        """Engines are compiled by this machine's own runtime."""
        return Place.why_not_built(self, target)

    def how(self, target: Target) -> str:
        """What runs there, in words."""
        without = " without SVE" if self._core(target) == LEAN else ""
        return f"the engine, on {ARCH} emulated by QEMU{without} instead of the device"

    def tool(self, target: Target) -> str:
        """The runtime under emulation, with its version, and what emulates."""
        found = self._installed()
        return f"{RUNTIME} {found.wheels[RUNTIME]} for {ARCH} under {found.said()}, -cpu {self._core(target)}"

    @property
    def machine(self) -> Machine:
        """The emulated one: of any core, since that is the target's."""
        return Machine(processor="emulated by QEMU", arch=ARCH, cores=usable_cores(), isa=(), system="Linux")

    @property
    def builder(self) -> Machine:
        """This machine itself."""
        return this_machine()

    def check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        """By this machine's own runtime, which compiles."""
        return Place.check(self, graph, target)

    def compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        """By this machine's own runtime."""
        return Place.compile(self, graph, target, directory, precision)

    def host_of(self, target: Target) -> Emulated:
        """The core of the target."""
        return Emulated(self._installed(), self._core(target))

    def _core(self, target: Target) -> str:
        """As QEMU names it; everything where the target has none, or this QEMU lacks it."""
        if target.core and target.core in emulation.cores(self._installed().qemu):
            return target.core
        return LEAN if self._lean else emulation.EVERYTHING

    def _installed(self) -> Emulation:
        found = emulation.find()
        assert isinstance(found, Emulation), found  # `why_not` was asked
        return found
