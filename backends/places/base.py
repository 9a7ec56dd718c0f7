"""The interface of a place: where an engine is compiled, opened, measured and looked at.

A place says two things of itself that nothing else may find out on its own: whether an engine of a target runs there,
and whether what is seen there is what the device does.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ...errors import InputError, UnservedError
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.layers import Layer
from ...profiles.machine.conditions import Conditions, read_conditions
from ...profiles.machine.energy import Meter
from ...profiles.machine.environment import Machine, this_machine, usable_cores
from ...profiles.machine.waiting import Waiting, tasks_of
from ...profiles.timing.measure import Arm
from ...profiles.timing.taking_turns import Lookout, Opener
from ..base import Engine, Feed, Graph, Rejection, Session
from ..decoding import Decoding
from ..registry import load_backend, tool_versions
from .apart import check_apart, compile_apart
from .host import Host
from .remote import HERE

Fidelity = Literal["measured", "emulated"]


class Place(abc.ABC):
    """Where an engine runs; what is not overridden is that of this machine and of the target's backend on it.

    Attributes:
        name: the entry-point name.
        itself: it runs the engine; otherwise the graph that the engine is compiled from.
        judges: exports judge and measure there without being told to.
        order: of places that are equal otherwise the one with the least is taken.
        address: what its address looks like, as in `ssh://USER@HOST`; empty where it has none.
        where: it in words, behind what cannot run: `on this machine`.
        host: where its child processes run.
        here: it is this machine, so that times of this process compare with those taken there.
    """

    name: str
    itself: bool = True
    judges: bool = True
    order: int = 50
    address: str = ""
    where: str = "on this machine"
    host: Host = HERE
    here: bool = True

    @classmethod
    def at(cls, rest: str) -> Place:
        """The place at an address.

        Args:
            rest: what is behind `://`.

        Raises:
            InputError: the place has no address, or not this one.
        """
        raise InputError(f"The place {cls.name} has no address.", hint="Leave it out.")

    @abc.abstractmethod
    def why_not(self, target: Target) -> str:
        """Why engines for the target cannot be opened there, one clause; empty where they can."""

    @abc.abstractmethod
    def open(self, engine: Engine, threads: int | None = None) -> Session:
        """Open an engine, as `Backend.open` does."""

    def decode(self, engine: Engine, threads: int | None = None) -> Decoding:
        """Open the engine of a decoder, as `Backend.decode` does."""
        return load_backend(engine.backend).decode(engine, threads)

    def opener(self, engine: Engine, feed: Feed, threads: int, scratch: Path) -> Opener:
        """What opens an engine anew to be timed on one feed; here in this process, if a place has no other.

        Args:
            scratch: an empty directory that outlives what is started.
        """
        return lambda: self._opened(engine, feed, threads)

    @contextmanager
    def _opened(self, engine: Engine, feed: Feed, threads: int) -> Iterator[Arm]:
        with self.open(engine, threads) as session:
            yield session.arm(feed)

    def why_not_built(self, target: Target) -> str:
        """Why engines for the target cannot be compiled there, one clause; empty where they can."""
        return load_backend(target.backend).obstacle(target)

    def evidence(self, target: Target) -> Fidelity:
        """Whether what is seen there is what the device does, or an emulation of it."""
        same = self.itself and target.arch in ("any", self.machine.arch)
        return "measured" if same else "emulated"

    def how(self, target: Target) -> str:
        """What runs there, in words."""
        other = "" if self.evidence(target) == "measured" else f", on {self.machine.arch} instead of the device"
        return f"the engine{other}"

    def tool(self, target: Target) -> str:
        """What runs there, with its version: `openvino 2026.4.1`."""
        return load_backend(target.backend).available().version

    def compiler(self, target: Target) -> str:
        """What compiles there, with its version."""
        return load_backend(target.backend).available().version

    def native_float(self, target: Target) -> PrecisionName:
        """As `Backend.native_float`, there."""
        return load_backend(target.backend).native_float(target)

    def tools(self) -> dict[str, str]:
        """Versions of what decides a figure there, by package."""
        return tool_versions()

    @property
    def machine(self) -> Machine:
        """The machine."""
        return this_machine()

    def threads(self) -> int:
        """How many threads have a core of their own there."""
        return usable_cores()

    @property
    def builder(self) -> Machine:
        """The machine that compiles, where that is another one."""
        return self.machine

    def conditions(self) -> Conditions:
        """How the machine is doing now."""
        return read_conditions()

    def waiting(self, pid: int) -> Waiting:
        """How long the threads of a process there wait for a core."""
        return Waiting(tasks=tasks_of(pid))

    @property
    def watch(self) -> Lookout:
        """What reads that machine while engines run there."""
        return Lookout(conditions=self.conditions, waiting=self.waiting)

    def meter(self, target: Target) -> Meter | str:
        """What measures the energy of inferences, or why nothing does."""
        return load_backend(target.backend).meter()

    def check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        """Nodes that the target's compiler would refuse, as `Backend.check`; apart, where the parser may crash.

        Raises:
            EngineFailedError: it crashed.
        """
        backend = load_backend(target.backend)
        return check_apart(graph, target) if backend.fragile else backend.check(graph, target)

    def compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        """Compile there, as `Backend.compile`; in a process of its own where the compiler may crash.

        Raises:
            EngineFailedError: it crashed.
        """
        backend = load_backend(target.backend)
        return (compile_apart if backend.fragile else backend.compile)(graph, target, directory, precision)

    def for_scores(self, target: Target) -> Place:
        """Where a metric is computed, over as many samples as a user has: this place, if it has no faster likeness."""
        return self

    def inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        """The layers that run there, as `Backend.inspect`."""
        return load_backend(engine.backend).inspect(engine, feed)

    def runs(self, graph: Graph, target: Target, precision: PrecisionName, built: Engine | None) -> Engine | None:
        """What is opened there for a graph: the engine built of it, None where there is none."""
        return built

    def why_unmeasured(self, target: Target) -> str:
        """Why a latency seen there would say nothing of the device, one clause; empty where it does."""
        if why := self.why_not(target):
            return "the engine is not built here" if self.why_not_built(target) else why
        if self.evidence(target) == "measured":
            return ""
        return f"this machine is {self.machine.arch}, the target {target.arch}"

    def need(self, target: Target, prefix: str = "") -> None:
        """Go on only where engines of the target can be opened.

        Args:
            prefix: how the message begins.

        Raises:
            UnservedError: they cannot; why, and what to install.
        """
        if why := self.why_not(target):
            hint = self.remedy(target) or None
            raise UnservedError(f"{prefix}{target.backend} cannot run {self.where}: {why}.", hint=hint)

    def remedy(self, target: Target) -> str:
        """What to do where engines of the target cannot be opened there, a sentence; empty where nothing helps."""
        return load_backend(target.backend).available().remedy
