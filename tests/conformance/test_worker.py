"""What becomes of native code that crashes in a process of its own: one error here, and this process goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.backends.base import Engine, Graph
from edgepress.backends.places import Local, Place, Worker
from edgepress.backends.places.remote import EngineFailedError
from edgepress.backends.registry import BACKENDS
from edgepress.errors import InputError, VerificationError
from edgepress.profiles.device.target import Target, load_target

from ..exporter.measuring._engines import failing_target, install_failing
from ._cases import FLOATS, Case
from ._graphs import feed
from .test_backends import made

(RUNTIME,) = (case for case in FLOATS if case.backend == "onnxruntime")
pytestmark = pytest.mark.parametrize("case", [RUNTIME], ids=str, indirect=True)
Failing = Callable[..., Target]


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    """A target of onnxruntime that crashes; `then` says in what, `after` after how many inferences."""
    site = install_failing(tmp_path)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    BACKENDS.__dict__.pop("_points", None)
    yield lambda then, after=1 << 40: load_target(str(failing_target(tmp_path, then, after)))
    BACKENDS.__dict__.pop("_points", None)


@pytest.fixture
def broken(engine: Engine, failing: Failing) -> Callable[..., Engine]:
    return lambda then, after=1 << 40: replace(engine, backend="failing", target=failing(then, after))


@pytest.mark.parametrize("place", [Worker(), Local()], ids=["worker", "local, of a backend that is fragile"])
@pytest.mark.parametrize("what", ["check", "compile"])
def test_a_compiler_that_crashes_is_one_message(
    failing: Failing, graph: Graph, case: Case, tmp_path: Path, what: str, place: Place
) -> None:
    target, out = failing(f"crash-in-{what}"), made(tmp_path / "out")
    attempts: dict[str, Callable[[], object]] = {
        "check": lambda: place.check(graph, target),
        "compile": lambda: place.compile(graph, target, out, case.precision),
    }
    with pytest.raises(EngineFailedError, match=r"compiled net\.onnx was ended by SIGABRT") as error:
        attempts[what]()
    assert "another target" in error.value.told
    assert not list(out.iterdir())


def test_a_runtime_that_crashes_is_one_message(broken: Callable[..., Engine], graph: Graph) -> None:
    given = feed(graph, 2)
    with pytest.raises(VerificationError, match=r"ran model\.onnx was ended by SIGABRT"):
        Worker().inspect(broken("crash-in-inspect"), given)
    with Worker().open(broken("crash", after=1), threads=1) as session:
        assert set(session(given)) == {"logits"}
        for _ in range(2):  # and again, however often it is asked
            with pytest.raises(EngineFailedError, match="SIGABRT") as error:
                session(given)
            assert "\n" not in error.value.message
        with pytest.raises(EngineFailedError, match="SIGABRT"):
            session.arm(given)
        session.close()


def test_a_crash_leaves_other_sessions_alone(broken: Callable[..., Engine], engine: Engine, graph: Graph) -> None:
    given = feed(graph, 2)
    with Worker().open(engine, threads=1) as other, Worker().open(broken("crash", after=0), threads=1) as session:
        before = other(given)["logits"]
        with pytest.raises(EngineFailedError):
            session(given)
        assert (other(given)["logits"] == before).all()


def test_what_the_runtime_refuses_there_is_the_same_error_here(broken: Callable[..., Engine]) -> None:
    with pytest.raises(InputError, match="wrong colour") as error:
        Worker().open(broken("refuse"))
    assert error.value.hint == "Paint it."
