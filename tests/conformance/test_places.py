"""What every place promises: an engine opened there answers, is timed and looked at as it is in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from edgepress.backends.base import Backend, Engine, Feed, Graph
from edgepress.backends.places import Local, Place, load_place, place_for, place_names
from edgepress.errors import InputError, UnservedError
from edgepress.profiles.device.target import Target
from edgepress.profiles.findings.layers import Layer
from edgepress.profiles.findings.parity import parity, worst
from edgepress.profiles.timing.measure import Settings, measure

from ._cases import Case, arch
from ._graphs import feed
from .test_backends import AGREEMENT_DB, in_float, made

BRIEF = Settings(warmup_seconds=0.01, warmup_count=3, seconds=0.05, samples=10, slice_seconds=0.01, cap=1.0)
OTHER: Literal["aarch64", "x86_64"] = "aarch64" if arch() == "x86_64" else "x86_64"


@pytest.fixture(params=place_names())
def place(request: pytest.FixtureRequest) -> Place:
    return load_place(request.param)


@pytest.fixture
def there(place: Place, running: Backend, aim: Target) -> Place:
    """A place that opens the engines of a backend which compiles here."""
    if why := place.why_not(aim):
        pytest.skip(f"{place.name}: {why}")
    return place


@pytest.fixture
def opened(there: Place, graph: Graph, aim: Target, case: Case, engine: Engine) -> Engine:
    """What is opened there for the graph."""
    found = there.runs(graph, aim, case.precision, engine)
    assert found is not None
    return found


@in_float
def test_a_place_says_whether_an_engine_opens_there_and_why_not(place: Place, aim: Target) -> None:
    why = place.why_not(aim)
    if not why:
        place.need(aim)
        return
    assert not why.endswith(".")
    with pytest.raises(UnservedError) as error:
        place.need(aim, "To go on: ")
    assert str(error.value).startswith("To go on: ")
    assert why in str(error.value)


@in_float
def test_what_is_seen_there_is_called_by_its_name(place: Place, aim: Target) -> None:
    """Measured is what the device itself does; then, and only then, a latency counts."""
    if place.why_not(aim):
        assert place.why_unmeasured(aim)
        return
    assert place.evidence(aim) == ("measured" if place.itself and place.machine.arch == arch() else "emulated")
    assert (place.evidence(aim) == "measured") == (place.why_unmeasured(aim) == "")
    assert (place.evidence(aim) == "measured") == (place.how(aim) == "the engine")
    assert place.tool(aim)


@in_float
def test_another_architecture_is_emulated_and_its_latency_counts_nowhere(place: Place, aim: Target) -> None:
    if place.machine.arch == OTHER:
        pytest.skip(f"{place.name} is such a machine")
    foreign = replace(aim, arch=OTHER)
    assert place.evidence(foreign) == "emulated"
    assert place.how(foreign) != "the engine"
    assert place.why_unmeasured(foreign)


@in_float
def test_exports_judge_where_the_device_is_itself(running: Backend, aim: Target) -> None:
    assert isinstance(place_for(aim), Local)


def test_it_answers_as_this_process_does(
    there: Place, opened: Engine, running: Backend, engine: Engine, graph: Graph
) -> None:
    given = [feed(graph, batch, seed=batch) for batch in (2, 1, 5)]
    with running.open(engine, threads=1) as here, there.open(opened, threads=1) as session:
        expected, answers = [here(one) for one in given], [session(one) for one in given]
    if there.itself:
        for right, answer in zip(expected, answers, strict=True):
            np.testing.assert_array_equal(answer["logits"], right["logits"])
    assert worst(parity(expected, answers)).sqnr_db > AGREEMENT_DB[engine.precision]


@in_float
def test_inferences_of_a_bound_feed_are_timed(there: Place, opened: Engine, graph: Graph) -> None:
    given = feed(graph, 2)
    with there.open(opened, threads=1) as session:
        before = session(given)["logits"]
        found = measure({"engine": session.arm(given)}, BRIEF)["engine"]
        np.testing.assert_array_equal(session(given)["logits"], before)
    assert len(found.samples) >= BRIEF.samples
    assert min(found.samples) > 0
    assert sum(found.samples) / 1e9 >= BRIEF.seconds


@in_float
@pytest.mark.parametrize("wrong", [{}, {"image": np.zeros((2, 3), np.float32)}], ids=["nothing", "another shape"])
def test_a_feed_that_does_not_fit_is_the_same_error_there(
    there: Place, opened: Engine, graph: Graph, wrong: Feed
) -> None:
    with there.open(opened, threads=1) as session:
        attempts: tuple[Callable[[Feed], object], ...] = (session, session.arm)
        for attempt in attempts:
            with pytest.raises(InputError, match="image"):
                attempt(wrong)
        assert set(session(feed(graph, 2))) == {"logits"}


@in_float
def test_a_file_that_is_no_engine_is_the_same_error_there(there: Place, opened: Engine, tmp_path: Path) -> None:
    garbage = tmp_path / opened.path.name
    with pytest.raises(InputError, match=f"{garbage.name} does not exist"):
        there.open(replace(opened, path=garbage))
    garbage.write_bytes(b"garbage here" * 8)
    with pytest.raises(InputError, match=garbage.name):
        there.open(replace(opened, path=garbage))


@in_float
def test_two_sessions_at_once_and_one_closed_twice(there: Place, opened: Engine, graph: Graph) -> None:
    feeds = feed(graph, 3, seed=1), feed(graph, 2, seed=2)
    with there.open(opened, threads=1) as first:
        expected = [first(given)["logits"] for given in feeds]
        second = there.open(opened, threads=1)
        np.testing.assert_array_equal(second(feeds[1])["logits"], expected[1])
        second.close()
        second.close()
        np.testing.assert_array_equal(first(feeds[0])["logits"], expected[0])


def test_it_compiles_checks_and_inspects_as_the_backend_does(
    there: Place, running: Backend, graph: Graph, aim: Target, case: Case, engine: Engine, tmp_path: Path
) -> None:
    if there.why_not_built(aim):
        pytest.skip(f"{there.name}: {there.why_not_built(aim)}")
    assert there.check(graph, aim) == running.check(graph, aim)
    built = there.compile(graph, aim, made(tmp_path / "there"), case.precision)
    assert replace(built, path=engine.path) == engine
    if running.deterministic:
        assert contents(built) == contents(engine)
    given = feed(graph, 2)
    assert kernels(there.inspect(engine, given)) == kernels(running.inspect(engine, given))


def contents(engine: Engine) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in engine.path.parent.iterdir()}


def kernels(layers: tuple[Layer, ...]) -> list[tuple[str, str, bool]]:
    """What computes; where OpenVINO puts reorders between differs from one time it opens an engine to the next."""
    return [(layer.name, layer.kernel, layer.integer) for layer in layers if layer.compute]
