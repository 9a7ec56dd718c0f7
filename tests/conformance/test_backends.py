"""What every backend promises, in float and in int8; one that cannot run here says why and is skipped."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgepress.backends.base import Array, Backend, Engine, Feed, Graph, TensorSpec
from edgepress.backends.registry import backend_names, load_backend
from edgepress.errors import InputError, UnservedError
from edgepress.profiles.device.precision import PrecisionName
from edgepress.profiles.device.target import Target
from edgepress.profiles.findings.layers import coverage
from edgepress.profiles.findings.parity import parity, worst

from ._cases import FLOATS, Case
from ._graphs import KINDS, PRODUCTS, feed, to_the_letter

# Agreement of two float32 runtimes that sum in another order, measured 137 dB and more; and of integer kernels with the
# same graph computed in float, 140 dB, or 45 dB where what is float between them runs in bf16. A scale that is wrong by
# a tenth leaves 20 dB.
AGREEMENT_DB: dict[PrecisionName, float] = {"fp32": 100.0, "int8": 30.0}
both_networks = pytest.mark.parametrize("kind", KINDS)
in_float = pytest.mark.parametrize("case", FLOATS, ids=str, indirect=True)


@pytest.mark.parametrize("name", backend_names())
def test_availability_is_told_and_never_raised(name: str) -> None:
    here = load_backend(name).available()
    if here.compile and here.run:
        assert here.version
    else:
        assert here.reason
        assert here.remedy


@in_float
def test_what_cannot_be_done_here_is_refused_with_the_reason(
    backend: Backend, graph: Graph, aim: Target, case: Case, tmp_path: Path
) -> None:
    """And what `obstacle` says is what `compile` does."""
    here, why = backend.available(), backend.obstacle(aim)
    if why:
        with pytest.raises(UnservedError, match="cannot compile on this machine") as error:
            backend.compile(graph, aim, tmp_path, case.precision)
        assert why in str(error.value)
    else:
        assert backend.compile(graph, aim, tmp_path, case.precision).path.is_file()
    engine = Engine(
        path=tmp_path / "none",
        backend=backend.name,
        target=aim,
        precision=case.precision,
        inputs=graph.inputs,
        outputs=graph.outputs,
    )
    if not here.run:
        for attempt in (lambda: backend.open(engine), lambda: backend.inspect(engine, feed(graph, 2))):
            with pytest.raises(UnservedError, match="cannot run on this machine"):
                attempt()


@both_networks
def test_it_computes_what_the_graph_says(running: Backend, graph: Graph, engine: Engine, case: Case) -> None:
    given = [feed(graph, batch, seed=batch) for batch in (2, 1, 5)]
    with running.open(engine, threads=1) as session:
        answers = [session(one) for one in given]  # the batch axis is free: three sizes through one session
    agreement = worst(parity(to_the_letter(graph.path, given), answers))
    assert agreement.sqnr_db > AGREEMENT_DB[case.precision]
    assert {name: array.dtype.name for name, array in answers[0].items()} == {"logits": "float32"}


@in_float
def test_each_output_is_known_by_its_name(running: Backend, graph: Graph, aim: Target, tmp_path: Path) -> None:
    """In whatever order the runtime keeps them, and where one tensor goes out under two names."""
    model = onnx.load(graph.path)
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["again"], "again"))
    shapes: dict[str, tuple[int | str, ...]] = {
        "mean": ("batch", 8, 1, 1),
        "again": ("batch", 5),
        "r1": ("batch", 8, 10, 10),
        "logits": ("batch", 5),
    }
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in shapes.items()
    )
    path = tmp_path / "several.onnx"
    onnx.save(model, path)
    outputs = tuple(TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in shapes.items())
    several = replace(graph, path=path, outputs=outputs, digest=hashlib.sha256(path.read_bytes()).hexdigest())
    (expected,) = to_the_letter(path, [feed(graph, 2)], list(shapes))
    with running.open(running.compile(several, aim, made(tmp_path / "several"), "fp32")) as session:
        answer = session(feed(graph, 2))
    assert set(answer) == set(shapes)
    for name in shapes:
        np.testing.assert_allclose(answer[name], expected[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_results_are_the_callers(running: Backend, graph: Graph, engine: Engine) -> None:
    with running.open(engine) as session:
        first = session(feed(graph, 2, seed=1))["logits"]
        kept = first.copy()
        second = session(feed(graph, 2, seed=2))["logits"]
        np.testing.assert_array_equal(first, kept)
        assert not np.shares_memory(first, second)
        first[:] = 0  # writable
        np.testing.assert_array_equal(session(feed(graph, 2, seed=1))["logits"], kept)


def test_a_feed_is_left_alone(running: Backend, graph: Graph, engine: Engine) -> None:
    given = feed(graph, 2)
    kept = {name: array.copy() for name, array in given.items()}
    with running.open(engine) as session:
        session(given)
    np.testing.assert_array_equal(given["image"], kept["image"])


def test_a_bound_feed_is_what_a_call_computes(running: Backend, graph: Graph, engine: Engine) -> None:
    """What is timed reads the arrays, also after others were run, and takes as many inferences as it is called."""
    with running.open(engine, threads=1) as session:
        bound = session.bind({"image": feed(graph, 4)["image"][::2]})  # not contiguous, and kept by nobody else
        before = session(feed(graph, 2, seed=1))["logits"]
        for _ in range(3):
            bound()
        np.testing.assert_array_equal(session(feed(graph, 2, seed=1))["logits"], before)


@pytest.mark.parametrize("threads", [1, 2, None])
def test_the_number_of_threads_changes_no_answer(
    running: Backend, graph: Graph, engine: Engine, case: Case, threads: int | None
) -> None:
    given = feed(graph, 5)
    with running.open(engine, threads=threads) as session:
        answers = [session(given), session(given)]
    np.testing.assert_array_equal(*(answer["logits"] for answer in answers))
    agreement = worst(parity(to_the_letter(graph.path, [given]), answers[:1]))
    assert agreement.sqnr_db > AGREEMENT_DB[case.precision]


def test_two_sessions_at_once_do_not_disturb_each_other(running: Backend, graph: Graph, engine: Engine) -> None:
    """In turn, and each in a thread of its own."""
    feeds = [feed(graph, 3, seed=1), feed(graph, 2, seed=2)]
    with running.open(engine, threads=1) as alone:
        expected = [alone(given)["logits"] for given in feeds]

    with running.open(engine, threads=1) as first, running.open(engine, threads=1) as second:
        for session, given, right in ((first, feeds[0], expected[0]), (second, feeds[1], expected[1])) * 2:
            np.testing.assert_array_equal(session(given)["logits"], right)
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(repeated, run, given) for run, given in zip((first, second), feeds, strict=True)]
        for run, right in zip(runs, expected, strict=True):
            assert all((answer == right).all() for answer in run.result())


def test_closing_twice_does_no_harm_and_the_engine_opens_again(running: Backend, graph: Graph, engine: Engine) -> None:
    given = feed(graph, 2)
    session = running.open(engine, threads=1)
    before = session(given)["logits"]
    session.close()
    session.close()
    with running.open(engine, threads=1) as again:
        np.testing.assert_array_equal(again(given)["logits"], before)
        again.close()


WRONG: dict[str, Callable[[Array], Feed]] = {
    "nothing": lambda image: {},
    "another name": lambda image: {"picture": image},
    "one too many": lambda image: {"image": image, "picture": image},
    "another type": lambda image: {"image": image.astype(np.float64)},
    "an axis too few": lambda image: {"image": image[..., 0]},
    "another size": lambda image: {"image": image[..., 1:]},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_feed_that_does_not_fit_is_refused_and_the_next_one_runs(
    running: Backend, graph: Graph, engine: Engine, wrong: str
) -> None:
    right = feed(graph, 2)
    unfit = WRONG[wrong](right["image"])
    with running.open(engine, threads=1) as session:
        before = session(right)["logits"]
        for attempt in (session, session.bind):
            with pytest.raises(InputError, match="image"):
                attempt(unfit)
        np.testing.assert_array_equal(session(right)["logits"], before)
    with pytest.raises(InputError, match="image"):
        running.inspect(engine, unfit)


def test_an_engine_carries_the_graphs_signature(engine: Engine, graph: Graph, aim: Target, case: Case) -> None:
    assert engine.path.is_file()
    assert (engine.inputs, engine.outputs, engine.precision) == (graph.inputs, graph.outputs, case.precision)
    assert (engine.backend, engine.target) == (case.backend, aim)


def test_an_engine_opens_wherever_its_directory_lies(
    running: Backend, graph: Graph, engine: Engine, tmp_path: Path
) -> None:
    with running.open(engine, threads=1) as session:
        before = session(feed(graph, 2))["logits"]
    moved = shutil.move(engine.path.parent, tmp_path / "another place")
    with running.open(replace(engine, path=Path(moved) / engine.path.name), threads=1) as session:
        np.testing.assert_array_equal(session(feed(graph, 2))["logits"], before)


@both_networks
def test_a_sound_graph_is_not_refused(backend: Backend, graph: Graph, aim: Target) -> None:
    here = backend.available()
    if not here.compile:
        pytest.skip(f"{backend.name}: {here.reason}")
    assert backend.check(graph, aim) == ()


def test_garbage_is_refused(running: Backend, engine: Engine) -> None:
    engine.path.write_bytes(b"garbage here" * 8)
    with pytest.raises(InputError, match=engine.path.name):
        running.open(engine)


def test_an_engine_cut_short_is_refused(running: Backend, engine: Engine) -> None:
    """As a copy is that was interrupted."""
    for size in (0, engine.path.stat().st_size // 2):
        engine.path.write_bytes(engine.path.read_bytes()[:size])
        with pytest.raises(InputError, match=engine.path.name):
            running.open(engine)


def test_a_missing_engine_is_named(running: Backend, engine: Engine, tmp_path: Path) -> None:
    """As in an empty directory, or where the path is a directory itself."""
    engine.path.unlink()
    for path in (engine.path, made(tmp_path / "empty") / engine.path.name, tmp_path / "empty"):
        with pytest.raises(InputError, match=f"{path.name} does not exist"):
            running.open(replace(engine, path=path))


def test_the_same_graph_gives_the_same_bytes(
    running: Backend, engine: Engine, graph: Graph, aim: Target, case: Case, tmp_path: Path
) -> None:
    if not running.deterministic:
        pytest.skip(f"{running.name} does not promise it")
    again = running.compile(graph, aim, made(tmp_path / "again"), case.precision)
    files = [{f.name: f.read_bytes() for f in e.path.parent.iterdir()} for e in (engine, again)]
    assert files[0] == files[1]


def test_nothing_of_this_machine_is_in_an_engine(engine: Engine, graph: Graph, tmp_path: Path) -> None:
    folders = [str(folder).encode() for folder in (tmp_path, graph.path.parent)]
    for file in engine.path.parent.iterdir():
        assert not any(folder in file.read_bytes() for folder in folders)


@both_networks
def test_its_layers_are_told(running: Backend, graph: Graph, engine: Engine, case: Case) -> None:
    layers = running.inspect(engine, feed(graph, 2))
    found = coverage(layers)
    assert all(layer.name and layer.operator for layer in layers)
    assert all(layer.compute or not layer.integer for layer in layers)
    assert all(layer.microseconds is None or layer.microseconds >= 0 for layer in layers)
    if case.scheme is None:
        assert (found.integer, found.total) == (0, PRODUCTS)
    elif case.fits:  # int8 is what the kernels say, not what the graph asks for
        assert found.integer > 0


def made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def repeated(session: Callable[[Feed], dict[str, Array]], given: Feed) -> list[Array]:
    return [session(given)["logits"] for _ in range(20)]
