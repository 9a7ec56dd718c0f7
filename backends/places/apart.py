"""A compiler in a process of its own: a crash there is an error here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.machine.held import temporary
from ..base import Engine, Graph, Rejection
from .job import Job
from .remote import TIMEOUT, Remote

# Seconds that a compiler may be silent: TensorRT times every kernel of a large model, on a small board for hours.
PATIENCE = 6 * 3600.0


def check_apart(graph: Graph, target: Target, timeout: float = TIMEOUT) -> tuple[Rejection, ...]:
    """Let the target's compiler judge a graph that nobody has tried, as `Backend.check`.

    Args:
        timeout: seconds that it may be silent.

    Raises:
        EngineFailedError: the compiler crashed on it.
    """
    with _alone(graph, timeout) as remote:
        said = remote.ask("check", graph=to_jsonable_python(graph), target=to_jsonable_python(target))
    return TypeAdapter(tuple[Rejection, ...]).validate_python(said)


def compile_apart(
    graph: Graph, target: Target, directory: Path, precision: PrecisionName, timeout: float = PATIENCE
) -> Engine:
    """Compile, as `Backend.compile`.

    Args:
        timeout: seconds that it may be silent.

    Raises:
        EngineFailedError: the compiler crashed.
    """
    words = {"graph": to_jsonable_python(graph), "target": to_jsonable_python(target)}
    with _alone(graph, timeout) as remote:
        said = remote.ask("compile", **words, directory=str(directory), precision=precision)
    return TypeAdapter(Engine).validate_python(said)


@contextmanager
def _alone(graph: Graph, timeout: float) -> Iterator[Remote]:
    """A process without an engine."""
    with temporary() as scratch:
        job = Job(engine=None).save(scratch)
        with Remote(job, graph.path.name, timeout, doing="compiled") as remote:
            yield remote.ready()
