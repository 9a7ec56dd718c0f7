"""A machine that SSH reaches: engines are compiled, opened, measured and looked at there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from ....profiles.device.precision import PrecisionName
from ....profiles.device.target import Target
from ....profiles.machine.conditions import Conditions
from ....profiles.machine.energy import Meter
from ....profiles.machine.environment import Machine
from ....profiles.machine.waiting import Waiting, tasks_of
from ...base import Availability, Engine, Graph
from ...registry import load_backend
from ..addressed import Addressed
from ..apart import compile_onboard
from ..remote import Remote
from .address import FORM, Address
from .board import OLDEST, ONBOARD, DeviceHost


class Ssh(Addressed):
    """A device of the user's own.

    It is connected when it is first asked for anything, and given back with `close` or at the end of the process.
    """

    name = "ssh"
    order = 20
    address = FORM

    host: DeviceHost

    def __init__(self, address: Address | None = None) -> None:
        super().__init__(address is not None)
        self._address = address
        if address is not None:
            self.host = DeviceHost(address)
            self.where = f"on {address}"
        self._runtimes: dict[str, Mapping[str, Any]] = {}

    @classmethod
    def at(cls, rest: str) -> Ssh:
        """The machine at an address.

        Raises:
            InputError: it names none.
        """
        return cls(Address.parse(rest))

    def _unfit(self, target: Target) -> str:
        """What of the machine is in the way, before anything is copied."""
        python, about = self.host.python, self.host.about
        if about["system"] != "Linux":
            return f"its system is {about['system']}, not Linux"
        if target.arch not in ("any", python.arch):
            return f"it is {python.arch}, {target.name} is {target.arch}"
        least = ONBOARD if load_backend(target.backend).onboard() else OLDEST
        if python.version < least or about["implementation"] != "cpython":
            return (
                f"its Python is {about['implementation']} {'.'.join(map(str, python.version))}, and edgepress needs "
                f"CPython {'.'.join(map(str, least))} or later; name another with ?python=PATH"
            )
        if not load_backend(target.backend).finishes_on_device:
            return ""
        found = (self._unlike(package, target) for package in load_backend(target.backend).packages)
        return next(filter(None, found), "")

    def _unlike(self, package: str, target: Target) -> str:
        """Why a package of the device's own software does not do; it is not brought there."""
        there, wanted = self.host.version(package), target.toolchain.versions.get(package, "")
        if not there:
            return f"its Python has no {package}, which comes with the device's own software and is not brought there"
        if wanted and there.split(".")[0] != wanted.split(".")[0]:
            jetpack = f" ({self.host.about['jetpack']})" if self.host.about["jetpack"] else ""
            return (
                f"it has {package} {there}{jetpack}, and {target.name} is exported for {wanted}; export for the "
                f"software that is there, as in {target.name}@TOOLCHAIN"
            )
        return ""

    def _unready(self, target: Target) -> str:
        """Why the runtime does not run there, once all it needs is there."""
        return "" if self._available(target).run else self._available(target).reason

    def why_not_built(self, target: Target) -> str:
        """Why engines of the target cannot be compiled there."""
        return self.why_not(target) or str(self._runtime(target)["obstacle"])

    def compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        """Compile there."""
        if not self.host.bare:
            return super().compile(graph, target, directory, precision)
        return compile_onboard(graph, target, directory, precision, self.host)

    def _available(self, target: Target) -> Availability:
        return TypeAdapter(Availability).validate_python(self._runtime(target)["available"])

    def _runtime(self, target: Target) -> Mapping[str, Any]:
        """What the runtime of the target says of itself there."""
        if target.name not in self._runtimes:
            backend = load_backend(target.backend)
            if self.host.bare:
                self.host.board(backend.onboard())
            else:
                self.host.equip(backend)
            self._runtimes[target.name] = self.host.attendant.ask("runtime", target=to_jsonable_python(target))
        return self._runtimes[target.name]

    def tool(self, target: Target) -> str:
        """The runtime there, with its version."""
        return self._available(target).version

    def compiler(self, target: Target) -> str:
        """The runtime there compiles, too."""
        return self.tool(target)

    def native_float(self, target: Target) -> PrecisionName:
        """What the runtime there makes of FP32."""
        return TypeAdapter(PrecisionName).validate_python(self._runtime(target)["native_float"])

    def tools(self) -> dict[str, str]:
        """Versions there."""
        found: dict[str, str] = self.host.attendant.ask("tools")
        return found

    def remedy(self, target: Target) -> str:
        """What to do there."""
        return self._available(target).remedy if target.name in self._runtimes else ""

    @property
    def machine(self) -> Machine:
        """That machine; this one where there is no address, and nothing is done there."""
        return super().machine if self._address is None else self._machine

    @cached_property
    def _machine(self) -> Machine:
        return TypeAdapter(Machine).validate_python(self.host.attendant.ask("machine"))

    def threads(self) -> int:
        """As many as that machine has cores."""
        return self.machine.cores

    def conditions(self) -> Conditions:
        """How that machine is doing now."""
        return TypeAdapter(Conditions).validate_python(self.host.attendant.ask("conditions"))

    def waiting(self, pid: int) -> Waiting:
        """How long the threads of a process there wait for a core."""
        return Waiting(tasks=tasks_of(pid), read=lambda tasks: self._waits(str(tasks)))

    def _waits(self, tasks: str) -> dict[str, tuple[int, int]]:
        return {name: (ran, waited) for name, (ran, waited) in self.host.attendant.ask("waits", tasks=tasks).items()}

    def meter(self, target: Target) -> Meter | str:
        """What measures energy there."""
        source = self.host.attendant.ask("meter", backend=target.backend)
        return source["absent"] or RemoteMeter(self.host.attendant, source["source"])

    def close(self) -> None:
        """Give the machine back."""
        self.host.close()
        self.__dict__.pop("_machine", None)
        self._reasons.clear()
        self._runtimes.clear()


class RemoteMeter:
    """A meter of that machine."""

    def __init__(self, attendant: Remote, source: str) -> None:
        self._attendant, self.source = attendant, source

    def start(self) -> None:
        """Begin."""
        self._attendant.ask("meter_start")

    def stop(self) -> float:
        """End; returns joules."""
        return float(self._attendant.ask("meter_stop"))
