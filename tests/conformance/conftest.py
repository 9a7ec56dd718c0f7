"""A backend, a small network in float or int8, and the engine that the backend makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgepress.backends.base import Backend, Engine, Graph
from edgepress.backends.registry import load_backend
from edgepress.profiles.device.target import Scheme, Target

from ._cases import CASES, Case
from ._graphs import KINDS, quantized

Networks = Callable[[str, Scheme | None], Graph]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def backend(case: Case) -> Backend:
    return load_backend(case.backend)


@pytest.fixture
def aim(case: Case) -> Target:
    return case.target


@pytest.fixture
def running(backend: Backend, aim: Target) -> Backend:
    """A backend that compiles and runs on this machine."""
    here = backend.available()
    if why := backend.obstacle(aim) or here.reason:
        pytest.skip(f"{backend.name}: {why}")
    return backend


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """The graph of a kind, in float or in a scheme; written once, and not to be changed."""
    made: dict[tuple[str, str], Graph] = {}

    def network(kind: str, scheme: Scheme | None) -> Graph:
        key = kind, scheme.name if scheme else ""
        if key not in made:
            path = tmp_path_factory.mktemp(kind) / "net.onnx"
            made[key] = quantized(network(kind, None), scheme, path) if scheme else KINDS[kind](path)
        return made[key]

    return network


@pytest.fixture
def kind() -> str:
    """Which network; a test that asks it of both is parametrized with it."""
    return "convolutions"


@pytest.fixture
def graph(kind: str, case: Case, networks: Networks) -> Graph:
    return networks(kind, case.scheme)


@pytest.fixture
def engine(running: Backend, graph: Graph, aim: Target, case: Case, tmp_path: Path) -> Engine:
    directory = tmp_path / "engine"
    directory.mkdir()
    return running.compile(graph, aim, directory, case.precision)
