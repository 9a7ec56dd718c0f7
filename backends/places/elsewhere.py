"""A place whose engines each have a child process of their own, on any host: nothing else shares it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pydantic import TypeAdapter

from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.layers import Layer
from ...profiles.machine.held import temporary
from ...profiles.timing.measure import Arm
from ...profiles.timing.taking_turns import Opener
from ..base import Array, Engine, Feed, Graph, Rejection, Session
from .apart import check_apart, compile_apart
from .base import Place
from .host import Host
from .job import Job, load_arrays, save_arrays
from .remote import TIMEOUT, Remote


class Elsewhere(Place):
    """Engines in child processes of a host; a crash there is an error here.

    Attributes:
        timeout: seconds that a process may be silent.
    """

    timeout: float = TIMEOUT

    def open(self, engine: Engine, threads: int | None = None) -> Session:
        """Open it in a process of its own."""
        return RemoteSession(engine, threads, self.timeout, self.host)

    def opener(self, engine: Engine, feed: Feed, threads: int, scratch: Path) -> Opener:
        """A process of its own."""
        return opener_on(self.host, engine, feed, threads, scratch)

    def check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        """Let the compiler judge a graph there, whatever backend it is of."""
        return check_apart(graph, target, self.timeout, self.host)

    def compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        """Compile there."""
        return compile_apart(graph, target, directory, precision, host=self.host)

    def inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        """Read the layers there.

        Raises:
            EngineFailedError: the runtime crashed.
        """
        with temporary() as scratch:
            save_arrays(scratch / "inputs.npz", feed)
            job = Job(engine=self.host.engine(engine)).save(scratch)
            with Remote(job, engine.path.name, self.timeout, host=self.host) as remote:
                said = remote.ready().ask("layers", inputs=str(self.host.send(scratch / "inputs.npz")))
        return TypeAdapter(tuple[Layer, ...]).validate_python(said)


class RemoteSession(Session):
    """An engine in another process; arrays go there and back through files."""

    def __init__(self, engine: Engine, threads: int | None, timeout: float, host: Host) -> None:
        self._host, self._held = host, ExitStack()
        self._scratch = self._held.enter_context(temporary())
        try:
            job = Job(engine=host.engine(engine), threads=threads).save(self._scratch)
            self._remote = self._held.enter_context(Remote(job, engine.path.name, timeout, host=host))
            self._remote.ready()
        except BaseException:
            self.close()
            raise

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Run one feed there."""
        inputs, outputs = (self._scratch / name for name in ("inputs.npz", "outputs.npz"))
        save_arrays(inputs, feed)
        self._remote.ask("run", inputs=str(self._host.send(inputs)), outputs=str(self._host.there(outputs)))
        self._host.fetch(outputs)
        return dict(load_arrays(outputs))

    def arm(self, feed: Feed) -> Arm:
        """Inferences of this feed, timed in the process itself."""
        inputs = self._scratch / "bound.npz"
        save_arrays(inputs, feed)
        self._remote.ask("bind", inputs=str(self._host.send(inputs)))
        return self._remote

    def close(self) -> None:
        """End the process."""
        self._held.close()


def opener_on(host: Host, engine: Engine, feed: Feed, threads: int, scratch: Path) -> Opener:
    """What opens an engine anew to be timed on one feed, in a process of its own, bound to its cores."""
    job = Job(engine=host.engine(engine), threads=threads, affinity=host.cores(threads)).save(scratch, feed)
    return lambda: Remote(job, f"the {engine.precision} engine", host=host)
