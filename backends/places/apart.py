"""A compiler in a process of its own: a crash there is an error here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.machine.held import temporary
from ..base import Engine, Graph, Rejection
from ..registry import load_backend
from .host import Host
from .job import Job
from .remote import HERE, TIMEOUT, Remote

# Seconds that a compiler may be silent: TensorRT times every kernel of a large model, on a small board for hours.
PATIENCE = 6 * 3600.0


def check_apart(graph: Graph, target: Target, timeout: float = TIMEOUT, host: Host = HERE) -> tuple[Rejection, ...]:
    """Let the target's compiler judge a graph that nobody has tried, as `Backend.check`.

    Args:
        timeout: seconds that it may be silent.
        host: where the process runs.

    Raises:
        EngineFailedError: the compiler crashed on it.
    """
    with _alone(graph, timeout, host) as (remote, words):
        said = remote.ask("check", **words, target=to_jsonable_python(target))
    return TypeAdapter(tuple[Rejection, ...]).validate_python(said)


def compile_apart(
    graph: Graph,
    target: Target,
    directory: Path,
    precision: PrecisionName,
    timeout: float = PATIENCE,
    host: Host = HERE,
) -> Engine:
    """Compile, as `Backend.compile`.

    Args:
        timeout: seconds that it may be silent.
        host: where the process runs.

    Raises:
        EngineFailedError: the compiler crashed.
    """
    with _alone(graph, timeout, host) as (remote, words):
        there = str(host.there(directory))
        said = remote.ask("compile", **words, target=to_jsonable_python(target), directory=there, precision=precision)
        host.fetch(directory)
    engine = TypeAdapter(Engine).validate_python(said)
    return replace(engine, path=directory / engine.path.name)


def compile_onboard(
    graph: Graph, target: Target, directory: Path, precision: PrecisionName, host: Host, timeout: float = PATIENCE
) -> Engine:
    """As `compile_apart`, where a program of the backend's own stands in for edgepress."""
    backend = load_backend(target.backend)
    order = backend.order(graph, target, precision)
    with _alone(graph, timeout, host) as (remote, words):
        said = remote.ask("compile", **words, order=order, directory=str(host.there(directory)))
        host.fetch(directory)
    return Engine.of(graph, directory / said["plan"], backend.name, target, precision, said["notes"])


@contextmanager
def _alone(graph: Graph, timeout: float, host: Host) -> Iterator[tuple[Remote, dict[str, Any]]]:
    """A process without an engine, and the graph as it knows it."""
    with temporary() as scratch:
        job = Job(engine=None).save(scratch)
        with Remote(job, graph.path.name, timeout, doing="compiled", host=host) as remote:
            yield remote.ready(), {"graph": to_jsonable_python(host.graph(graph))}
