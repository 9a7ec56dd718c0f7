"""A child process for each engine: native code that crashes ends that one, and nothing else shares it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pydantic import TypeAdapter

from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.layers import Layer
from ...profiles.machine.held import temporary
from ...profiles.timing.measure import Arm
from ..base import Array, Engine, Feed, Graph, Rejection, Session
from .apart import check_apart, compile_apart
from .job import Job, load_arrays, save_arrays
from .local import Local
from .remote import TIMEOUT, Remote


class Worker(Local):
    """The engine, opened in a process of its own; a crash there is an error here.

    Attributes:
        timeout: seconds that the process may be silent.
    """

    name = "worker"
    judges = False  # it takes a second to start: for what may crash, and for what must not share a process
    order = 10
    timeout: float = TIMEOUT

    def open(self, engine: Engine, threads: int | None = None) -> Session:
        """Open it in a process of its own."""
        return WorkerSession(engine, threads, self.timeout)

    def check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        """Let the compiler judge a graph there, whatever backend it is of."""
        return check_apart(graph, target, self.timeout)

    def compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        """Compile there."""
        return compile_apart(graph, target, directory, precision, self.timeout)

    def inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        """Read the layers there.

        Raises:
            EngineFailedError: the runtime crashed.
        """
        with temporary() as scratch:
            save_arrays(scratch / "inputs.npz", feed)
            job = Job(engine=engine).save(scratch)
            with Remote(job, engine.path.name, self.timeout) as remote:
                said = remote.ready().ask("layers", inputs=str(scratch / "inputs.npz"))
        return TypeAdapter(tuple[Layer, ...]).validate_python(said)


class WorkerSession(Session):
    """An engine in another process; arrays go there and back through files."""

    def __init__(self, engine: Engine, threads: int | None, timeout: float) -> None:
        self._held = ExitStack()
        self._scratch = self._held.enter_context(temporary())
        job = Job(engine=engine, threads=threads).save(self._scratch)
        self._remote = Remote(job, engine.path.name, timeout)
        try:
            self._remote.ready()
        except BaseException:
            self.close()
            raise

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Run one feed there."""
        inputs, outputs = (self._scratch / name for name in ("inputs.npz", "outputs.npz"))
        save_arrays(inputs, feed)
        self._remote.ask("run", inputs=str(inputs), outputs=str(outputs))
        return dict(load_arrays(outputs))

    def arm(self, feed: Feed) -> Arm:
        """Inferences of this feed, timed in the process itself."""
        inputs = self._scratch / "bound.npz"
        save_arrays(inputs, feed)
        self._remote.ask("bind", inputs=str(inputs))
        return self._remote

    def close(self) -> None:
        """End the process."""
        self._remote.close()
        self._held.close()
