"""What a child process can be asked that holds no engine: to compile, and how its machine is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from ...profiles.device.target import Target
from ...profiles.machine.bandwidth import read_bandwidth
from ...profiles.machine.conditions import read_conditions
from ...profiles.machine.energy import Meter
from ...profiles.machine.environment import last_cores, this_machine
from ...profiles.machine.waiting import Waits, read_waits
from ..base import Feed, Graph
from ..registry import load_backend, tool_versions
from .job import Job
from .serve import Server


class MachineServer(Server):
    """A process without an engine."""

    def __init__(self, job: Job, feed: Feed | None, before: int) -> None:
        super().__init__(job, feed, before)
        self._meter: Meter | None = None

    def do_check(self, graph: Any, target: Any) -> list[dict[str, str]]:
        """The nodes that a compiler refuses, as the fields of `Rejection`."""
        read, aim = TypeAdapter(Graph).validate_python(graph), TypeAdapter(Target).validate_python(target)
        return [asdict(rejection) for rejection in load_backend(aim.backend).check(read, aim)]

    def do_compile(self, graph: Any, target: Any, directory: str, precision: Any) -> Any:
        """Compile a graph; the fields of `Engine`."""
        read, aim = TypeAdapter(Graph).validate_python(graph), TypeAdapter(Target).validate_python(target)
        return to_jsonable_python(load_backend(aim.backend).compile(read, aim, Path(directory), precision))

    def do_bandwidth(self, threads: int) -> list[float]:
        """Bytes a second that this machine reads, pass by pass."""
        return list(read_bandwidth(threads))

    def do_runtime(self, target: Any) -> dict[str, Any]:
        """What the runtime of a target says of itself here: fields of `Availability`, an obstacle, its own float."""
        aim = TypeAdapter(Target).validate_python(target)
        backend = load_backend(aim.backend)
        native = backend.native_float(aim)
        return {"available": asdict(backend.available()), "obstacle": backend.obstacle(aim), "native_float": native}

    def do_machine(self) -> Any:
        """The fields of `Machine`."""
        return to_jsonable_python(this_machine())

    def do_tools(self) -> dict[str, str]:
        """Versions of what decides a figure."""
        return tool_versions()

    def do_cores(self, count: int) -> tuple[int, ...]:
        """The cores that so many threads are bound to."""
        return last_cores(count)

    def do_conditions(self) -> Any:
        """The fields of `Conditions`."""
        return to_jsonable_python(read_conditions())

    def do_waits(self, tasks: str) -> Waits:
        """What the kernel tells of the threads of a process."""
        return read_waits(Path(tasks))

    def do_meter(self, backend: str) -> dict[str, str]:
        """What measures energy, or why nothing does."""
        found = load_backend(backend).meter()
        if isinstance(found, str):
            return {"source": "", "absent": found}
        self._meter = found
        return {"source": found.source, "absent": ""}

    def do_meter_start(self) -> None:
        """Begin to measure."""
        assert self._meter is not None
        self._meter.start()

    def do_meter_stop(self) -> float:
        """Joules since."""
        assert self._meter is not None
        return self._meter.stop()
