"""What every backend promises, held against each registered one; one that cannot run here says why and is skipped."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends.base import AxisRange, Backend, Engine, Feed, Graph, TensorSpec
from edgepress.backends.registry import backend_names, load_backend
from edgepress.errors import InputError
from edgepress.profiles.device.target import Target, Toolchain
from edgepress.profiles.findings.parity import parity, worst

SINGLE_DB = 100.0  # agreement of two float32 runtimes that sum in another order, measured 130 dB and more


@pytest.fixture(params=backend_names())
def backend(request: pytest.FixtureRequest) -> Backend:
    return load_backend(request.param)


@pytest.fixture
def running(backend: Backend) -> Backend:
    """A backend that compiles and runs on this machine."""
    here = backend.available()
    if not (here.compile and here.run):
        pytest.skip(f"{backend.name}: {here.reason}")
    return backend


@pytest.fixture
def aim(backend: Backend) -> Target:
    toolchain = Toolchain(name="here", opset=17, versions={}, source="test")
    return Target(
        name="here", title="Here", arch="x86_64", backend=backend.name, precisions=("fp32",), toolchain=toolchain
    )


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """Conv-ReLU-Conv-mean-Gemm with a free batch axis."""
    rng = np.random.default_rng(3)
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "w3": (8, 5), "b3": (5,)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), n) for n, s in shapes.items()]
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "one", **pads),
        helper.make_node("Relu", ["c1"], ["r1"], "relu"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "two", **pads),
        helper.make_node("GlobalAveragePool", ["c2"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"], "three"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 10, 10])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])
    made = helper.make_graph(nodes, "net", [image], [logits], weights)
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Graph(
        path=path,
        inputs=(TensorSpec(name="image", dtype="float32", shape=("batch", 3, 10, 10)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", 5)),),
        opset=17,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        axes={"batch": AxisRange(smallest=1, usual=2, largest=8)},
    )


@pytest.fixture
def engine(running: Backend, graph: Graph, aim: Target, tmp_path: Path) -> Engine:
    return compiled(running, graph, aim, tmp_path / "engine")


def compiled(backend: Backend, graph: Graph, aim: Target, directory: Path) -> Engine:
    directory.mkdir()
    return backend.compile(graph, aim, directory, "fp32")


def feed(batch: int, seed: int = 0) -> Feed:
    return {"image": np.random.default_rng(seed).normal(0, 1, (batch, 3, 10, 10)).astype(np.float32)}


def test_availability_is_told_and_never_raised(backend: Backend) -> None:
    here = backend.available()
    if here.compile and here.run:
        assert here.version
    else:
        assert here.reason
        assert here.remedy


def test_it_answers_what_onnxruntime_answers(running: Backend, graph: Graph, engine: Engine, aim: Target) -> None:
    reference = onnxruntime.InferenceSession(graph.path, providers=["CPUExecutionProvider"])
    given = [feed(batch, seed=batch) for batch in (2, 1, 5)]
    expected = [{"logits": reference.run(["logits"], dict(one))[0]} for one in given]
    with running.open(engine, threads=1) as session:
        answers = [session(one) for one in given]  # the batch axis is free: three sizes through one session
    assert worst(parity(expected, answers)).sqnr_db > SINGLE_DB
    assert {name: array.dtype.name for name, array in answers[0].items()} == {"logits": "float32"}


def test_each_output_is_known_by_its_name(running: Backend, graph: Graph, aim: Target, tmp_path: Path) -> None:
    """In whatever order the runtime keeps them, and where one tensor goes out under two names."""
    model = onnx.load(graph.path)
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["again"], "again"))
    names = ("mean", "again", "r1", "logits")
    shapes: dict[str, tuple[int | str, ...]] = {
        "mean": ("batch", 8, 1, 1),
        "again": ("batch", 5),
        "r1": ("batch", 8, 10, 10),
        "logits": ("batch", 5),
    }
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shapes[name])) for name in names
    )
    onnx.save(model, graph.path)
    outputs = tuple(TensorSpec(name=name, dtype="float32", shape=shapes[name]) for name in names)
    graph = replace(graph, outputs=outputs, digest=hashlib.sha256(graph.path.read_bytes()).hexdigest())
    reference = onnxruntime.InferenceSession(graph.path, providers=["CPUExecutionProvider"])
    expected = dict(zip(names, reference.run(list(names), dict(feed(2))), strict=True))
    with running.open(compiled(running, graph, aim, tmp_path / "several")) as session:
        answer = session(feed(2))
    assert set(answer) == set(names)
    for name in names:
        np.testing.assert_allclose(answer[name], expected[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_results_are_the_callers(running: Backend, engine: Engine, aim: Target) -> None:
    with running.open(engine) as session:
        first = session(feed(2, seed=1))["logits"]
        kept = first.copy()
        second = session(feed(2, seed=2))["logits"]
        np.testing.assert_array_equal(first, kept)
        assert not np.shares_memory(first, second)
        first[:] = 0  # writable
        np.testing.assert_array_equal(session(feed(2, seed=1))["logits"], kept)


def test_a_feed_is_left_alone(running: Backend, engine: Engine, aim: Target) -> None:
    given = feed(2)
    kept = {name: array.copy() for name, array in given.items()}
    with running.open(engine) as session:
        session(given)
    np.testing.assert_array_equal(given["image"], kept["image"])


def test_a_bound_feed_is_what_a_call_computes(running: Backend, engine: Engine, aim: Target) -> None:
    """What is timed reads the arrays, also after others were run, and takes as many inferences as it is called."""
    with running.open(engine, threads=1) as session:
        bound = session.bind({"image": feed(4)["image"][::2]})  # not contiguous, and kept by nobody else
        before = session(feed(2, seed=1))["logits"]
        for _ in range(3):
            bound()
        np.testing.assert_array_equal(session(feed(2, seed=1))["logits"], before)


def test_what_does_not_fit_is_not_bound(running: Backend, engine: Engine, aim: Target) -> None:
    with running.open(engine) as session, pytest.raises(InputError, match="image"):
        session.bind({"image": np.zeros((2, 3, 10), np.float32)})


def test_an_engine_carries_the_graphs_signature(engine: Engine, graph: Graph) -> None:
    assert engine.path.is_file()
    assert (engine.inputs, engine.outputs, engine.precision) == (graph.inputs, graph.outputs, "fp32")


def test_a_sound_graph_is_not_refused(backend: Backend, graph: Graph, aim: Target) -> None:
    here = backend.available()
    if not here.compile:
        pytest.skip(f"{backend.name}: {here.reason}")
    assert backend.check(graph, aim) == ()


def test_garbage_is_refused(running: Backend, engine: Engine, aim: Target) -> None:
    engine.path.write_bytes(b"garbage here" * 8)
    with pytest.raises(InputError, match=engine.path.name):
        running.open(engine)


def test_a_missing_engine_is_named(running: Backend, engine: Engine, aim: Target) -> None:
    engine.path.unlink()
    with pytest.raises(InputError, match=f"{engine.path.name} does not exist"):
        running.open(engine)


def test_the_same_graph_gives_the_same_bytes(
    running: Backend, engine: Engine, graph: Graph, aim: Target, tmp_path: Path
) -> None:
    if not running.deterministic:
        pytest.skip(f"{running.name} does not promise it")
    again = compiled(running, graph, aim, tmp_path / "again")
    files = [{f.name: f.read_bytes() for f in e.path.parent.iterdir()} for e in (engine, again)]
    assert files[0] == files[1]


def test_nothing_of_this_machine_is_in_an_engine(engine: Engine, tmp_path: Path) -> None:
    assert all(str(tmp_path).encode() not in file.read_bytes() for file in engine.path.parent.iterdir())


def test_its_layers_are_told(running: Backend, engine: Engine, aim: Target) -> None:
    layers = running.inspect(engine, feed(2))
    assert sum(layer.compute for layer in layers) == 3
    assert not any(layer.integer for layer in layers)
    assert all(layer.name and layer.operator for layer in layers)
    assert all(layer.microseconds is None or layer.microseconds >= 0 for layer in layers)
