"""How long a process waited for a core: what tells a busy machine from a slow engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Waits: TypeAlias = dict[str, tuple[int, int]]
TASKS = Path("/proc/self/task")


def tasks_of(pid: int) -> Path:
    """Where the kernel tells of the threads of a process."""
    return Path(f"/proc/{pid}/task")


@dataclass(slots=True)
class Waiting:
    """A context manager; afterwards `share` says which part of their time the threads waited for a core.

    The kernel counts both, in nanoseconds, for each thread: time on a core, and time ready to run without one
    (`/proc/PID/task/TID/schedstat`, Documentation/scheduler/sched-stats.rst). Where nothing else runs, the share is
    near 0; two processes that want the same core wait for half of the time. None where the kernel does not tell.

    Attributes:
        tasks: of the process, by default of this one.
        read: asks the kernel, which may be another machine's.
    """

    tasks: Path = TASKS
    read: Callable[[Path], Waits] = field(default=lambda tasks: read_waits(tasks), repr=False)
    ran: int = 0
    waited: int = 0
    _before: Waits = field(default_factory=dict)

    def __enter__(self) -> Waiting:
        self._before = self.read(self.tasks)
        return self

    def __exit__(self, *_: object) -> None:
        after = self.read(self.tasks)
        self.ran, self.waited = (
            sum(now[part] - self._before.get(name, (0, 0))[part] for name, now in after.items()) for part in (0, 1)
        )

    @property
    def share(self) -> float | None:
        """The part of their time that the threads waited; None where the kernel does not tell."""
        return self.waited / (self.ran + self.waited) if self.ran + self.waited > 0 else None


def read_waits(tasks: Path) -> Waits:
    """(time on a core, time without one) of each thread."""
    found: Waits = {}
    for file in tasks.glob("*/schedstat"):
        with suppress(OSError, ValueError):  # a thread that ended meanwhile
            ran, waited, *_ = file.read_text(encoding="ascii").split()
            found[file.parent.name] = (int(ran), int(waited))
    return found
