"""A phone or a tablet with Android, by adb: engines of onnxruntime are opened, measured and looked at there.

They are compiled here, by this machine's own onnxruntime, as for every phone. What runs them there is a program of our
own with onnxruntime's library for Android, since a phone has no Python.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ....errors import InputError
from ....profiles.device.precision import PrecisionName
from ....profiles.device.target import Target
from ....profiles.machine.conditions import Conditions
from ....profiles.machine.energy import Meter
from ....profiles.machine.environment import Machine, this_machine
from ....profiles.machine.waiting import Waiting, tasks_of
from ...base import Engine, Graph, Rejection
from ...decoding import Decoding
from ...registry import tool_versions
from ..addressed import Addressed
from ..base import Fidelity, Place
from . import state
from .about import ARCHES, OLDEST_API
from .address import FORM, PhoneAddress
from .phone import PhoneHost

RUNTIME = "onnxruntime"
# Keys of onnxruntime's execution providers, by the name that an address gives them.
_PROVIDERS = {"cpu": "CPUExecutionProvider", "xnnpack": "XnnpackExecutionProvider", "nnapi": "NnapiExecutionProvider"}
_log = logging.getLogger(__name__)
_ABSENT = "what the gauge of a phone's battery shows is not energy of the inferences"


class Adb(Addressed):
    """A phone of the user's own.

    It is asked for when anything is first asked of it, and given back with `close` or at the end of the process.
    """

    name = "adb"
    order = 30
    address = FORM

    host: PhoneHost

    def __init__(self, address: PhoneAddress | None = None) -> None:
        super().__init__(address is not None)
        self._address = address
        if address is not None:
            self.host = PhoneHost(address)
            self.where = f"on {address}"

    @classmethod
    def at(cls, rest: str) -> Adb:
        """The phone at an address.

        Raises:
            InputError: it names none.
        """
        return cls(PhoneAddress.parse(rest))

    def _unfit(self, target: Target) -> str:
        """What of the phone is in the way, before anything is copied."""
        if target.backend != RUNTIME:
            return f"{target.name} runs {target.backend}, and a phone runs {RUNTIME}"
        about = self.host.about
        if about.abi not in ARCHES:
            return f"its instruction set is {about.abi or 'not told'}, and there is {', '.join(ARCHES)}"
        if about.api < OLDEST_API:
            return f"it has {about.android}, and {RUNTIME} needs API {OLDEST_API} (Android 7) or later"
        return ""

    def _unready(self, target: Target) -> str:
        """Why the runtime does not run there, once all it needs is there; one that is old is told of."""
        version, exported = self.host.loaded["version"], target.toolchain.versions.get(RUNTIME, "")
        if exported and _release(version) < _release(exported):
            _log.warning(
                "%s: its %s is %s, and %s is exported for %s: what is newer in an engine does not open there.",
                self.host.address,
                RUNTIME,
                version,
                target.name,
                exported,
            )
        wanted, there = _PROVIDERS[self._provider], self.host.loaded["providers"]
        return "" if wanted in there else f"its {RUNTIME} has no {wanted}, only {', '.join(there)}"

    def evidence(self, target: Target) -> Fidelity:
        """An emulator of Android shows what it computes, and not how fast."""
        return "emulated" if self._is_emulator else super().evidence(target)

    @property
    def _provider(self) -> str:
        """Who computes; the CPU where no phone is named yet."""
        return "cpu" if self._address is None else self._address.provider

    @property
    def _is_emulator(self) -> bool:
        return self._address is not None and self.host.about.emulator

    def why_unmeasured(self, target: Target) -> str:
        """Why a latency seen there would say nothing of the device."""
        if self._is_emulator:
            return "it is an emulator of Android"
        if why := self.why_not(target):
            return why
        return "" if self.evidence(target) == "measured" else f"it is {self.machine.arch}, {target.name} {target.arch}"

    def how(self, target: Target) -> str:
        """What runs there, in words."""
        by = "" if self._provider == "cpu" else f" with {_PROVIDERS[self._provider]}"
        on = " in an emulator of Android" if self._is_emulator else ""
        return f"{super().how(target)}{by}{on}"

    def tool(self, target: Target) -> str:
        """The runtime there, with its version, and who computes."""
        by = "" if self._provider == "cpu" else f", {_PROVIDERS[self._provider]}"
        return f"{RUNTIME} {self.host.loaded['version']} for Android {self.host.about.abi}{by}"

    def tools(self) -> dict[str, str]:
        """Versions here, where engines are made, but for the runtime there and what it was taken from."""
        found = {RUNTIME: self.host.loaded["version"], "onnxruntime for Android, sha256": self.host.runtime.digest}
        return {**tool_versions(), **found}

    def compiler(self, target: Target) -> str:
        """This machine's own runtime."""
        return Place.compiler(self, target)

    def why_not_built(self, target: Target) -> str:
        """Engines are compiled by this machine's own runtime."""
        return Place.why_not_built(self, target)

    def check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        """By this machine's own runtime, which compiles."""
        self._need_cpu()
        return Place.check(self, graph, target)

    def compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        """By this machine's own runtime."""
        self._need_cpu()
        return Place.compile(self, graph, target, directory, precision)

    def _need_cpu(self) -> None:
        """Engines are made, judged and opened by their loaders for the CPU.

        Raises:
            InputError: another provider was asked for.
        """
        if self._provider != "cpu":
            raise InputError(
                f"With ?provider={self._provider} a bundle can be verified and measured, and none is made: "
                "engines are chosen by what the CPU does with them.",
                hint="Leave it out here, and give it to verify, profile and compare.",
            )

    def decode(self, engine: Engine, threads: int | None = None) -> Decoding:
        """No decoders.

        Raises:
            UnservedError: always.
        """
        raise self.host.without_decoders()

    @property
    def machine(self) -> Machine:
        """That phone; this machine where there is no address, and nothing is done there."""
        return super().machine if self._address is None else self.host.about.machine

    @property
    def builder(self) -> Machine:
        """This machine itself."""
        return this_machine()

    def threads(self) -> int:
        """As many as it has cores that a program may use."""
        return len(self.host.about.cores)

    def conditions(self) -> Conditions:
        """How the phone is doing now."""
        return state.conditions(self.host.client, self.host.about.cores)

    def waiting(self, pid: int) -> Waiting:
        """How long the threads of a process there wait for a core."""
        return Waiting(tasks=tasks_of(pid), read=lambda tasks: state.waits(self.host.client, tasks))

    def meter(self, target: Target) -> Meter | str:
        """Nothing."""
        return _ABSENT

    def remedy(self, target: Target) -> str:
        """What to do there."""
        why = self._reasons.get(target.name, "")
        return "Give another library with ?runtime=PATH, or another ?provider=NAME." if "has no" in why else ""

    def close(self) -> None:
        """Give the phone back."""
        self.host.close()
        self._reasons.clear()


def _release(version: str) -> tuple[int, ...]:
    """Major and minor."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
