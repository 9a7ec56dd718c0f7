"""A place whose engines each have a child process of their own, on any host: nothing else shares it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.layers import Layer
from ...profiles.machine.held import temporary
from ...profiles.timing.measure import Arm
from ...profiles.timing.taking_turns import Opener
from ..base import Array, Engine, Feed, Graph, Rejection, Session
from ..decoding import Decoding, Logits, Tokens
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

    def host_of(self, target: Target) -> Host:
        """Where engines of a target run."""
        return self.host

    def open(self, engine: Engine, threads: int | None = None) -> Session:
        """Open it in a process of its own."""
        return RemoteSession(engine, threads, self.timeout, self.host_of(engine.target))

    def decode(self, engine: Engine, threads: int | None = None) -> Decoding:
        """Open the engine of a decoder in a process of its own."""
        return RemoteDecoding(engine, threads, self.timeout, self.host_of(engine.target))

    def opener(self, engine: Engine, feed: Feed, threads: int, scratch: Path) -> Opener:
        """A process of its own."""
        return opener_on(self.host_of(engine.target), engine, feed, threads, scratch)

    def check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        """Let the compiler judge a graph there, whatever backend it is of."""
        return check_apart(graph, target, self.timeout, self.host_of(target))

    def compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        """Compile there."""
        return compile_apart(graph, target, directory, precision, host=self.host_of(target))

    def inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        """Read the layers there.

        Raises:
            EngineFailedError: the runtime crashed.
        """
        host = self.host_of(engine.target)
        with temporary() as scratch:
            save_arrays(scratch / "inputs.npz", feed)
            job = Job(engine=host.engine(engine)).save(scratch)
            with Remote(job, engine.path.name, self.timeout, host=host) as remote:
                return remote.ready().layers(str(host.send(scratch / "inputs.npz")))


class _Opened:
    """An engine in another process; arrays go there and back through files."""

    def __init__(self, engine: Engine, threads: int | None, timeout: float, host: Host, *, logits: bool) -> None:
        self._host, self._held = host, ExitStack()
        self._scratch = self._held.enter_context(temporary())
        try:
            job = Job(engine=host.engine(engine), threads=threads, logits=logits).save(self._scratch)
            self.remote = self._held.enter_context(Remote(job, engine.path.name, timeout, host=host))
            self.remote.ready()
        except BaseException:
            self.close()
            raise

    def run(self, feed: Feed) -> dict[str, Array]:
        """Run arrays there."""
        inputs, outputs = self.sent(feed), self._scratch / "outputs.npz"
        self.remote.ask("run", inputs=inputs, outputs=str(self._host.there(outputs)))
        self._host.fetch(outputs)
        return load_arrays(outputs)

    def sent(self, feed: Feed) -> str:
        """Where arrays lie there."""
        save_arrays(self._scratch / "inputs.npz", feed)
        return str(self._host.send(self._scratch / "inputs.npz"))

    def close(self) -> None:
        """End the process."""
        self._held.close()


class RemoteSession(Session):
    """An engine that is open in another process."""

    def __init__(self, engine: Engine, threads: int | None, timeout: float, host: Host) -> None:
        self._opened = _Opened(engine, threads, timeout, host, logits=False)

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Run one feed there."""
        return self._opened.run(feed)

    def arm(self, feed: Feed) -> Arm:
        """Inferences of this feed, timed in the process itself."""
        self._opened.remote.ask("bind", inputs=self._opened.sent(feed))
        return self._opened.remote

    def close(self) -> None:
        """End the process."""
        self._opened.close()


class RemoteDecoding(Decoding):
    """A decoder that is open in another process."""

    def __init__(self, engine: Engine, threads: int | None, timeout: float, host: Host) -> None:
        self._opened = _Opened(engine, threads, timeout, host, logits=True)

    def __call__(self, tokens: Tokens) -> Logits:
        """Logits after each of these tokens."""
        logits: Logits = self._opened.run({"tokens": tokens})["logits"].astype(np.float32, copy=False)
        return logits

    def reset(self) -> None:
        """Forget all tokens."""
        self._opened.remote.ask("reset")

    def close(self) -> None:
        """End the process."""
        self._opened.close()


def opener_on(host: Host, engine: Engine, feed: Feed, threads: int, scratch: Path) -> Opener:
    """What opens an engine anew to be timed on one feed, in a process of its own, bound to its cores."""
    job = Job(engine=host.engine(engine), threads=threads, affinity=host.cores(threads)).save(scratch, feed)
    return lambda: Remote(job, f"the {engine.precision} engine", host=host)
