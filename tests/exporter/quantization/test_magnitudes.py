"""How large values can be, and float16 by that: nothing is found otherwise than by looking at all of them."""

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, numpy_helper, save

from edgepress.backends.places import Reference
from edgepress.exporter.graphs.files import read_graph, read_model
from edgepress.exporter.quantization.analysis import fp16_exceptions as module
from edgepress.exporter.quantization.analysis.fp16_exceptions import fp16_exceptions
from edgepress.exporter.quantization.analysis.magnitudes import magnitudes


def network(path, scale=1.0):
    """Two convolutions beside a shortcut, pooled, then products of both kinds; Softplus is not bounded."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(4, 3, 3, 3)) / 5 * scale,
        "b1": rng.normal(size=4),
        "w2": rng.normal(size=(4, 2, 3, 3)) / 5,
        "w3": rng.normal(size=(6, 4)),
        "b3": rng.normal(size=6),
        "w4": rng.normal(size=(6, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "w2"], ["c"], name="two", pads=[1, 1, 1, 1], group=2),
        helper.make_node("Add", ["c", "r"], ["s"], name="add"),
        helper.make_node("GlobalAveragePool", ["s"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["g"], name="gemm", transB=1),
        helper.make_node("Softplus", ["g"], ["q"], name="soft"),
        helper.make_node("MatMul", ["q", "w4"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(np.float32(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model, full_check=True)
    save(model, path)
    return read_graph(path)


def feeds(count, factor=1.0, seed=1):
    rng = np.random.default_rng(seed)
    return [{"x": np.float32(factor * rng.normal(size=(3, 3, 8, 8)))} for _ in range(count)]


def seen_of(graph, data, names):
    """The largest magnitudes that a run shows."""
    with Reference().values(graph.path, [name for name in names if name != "y"]) as values:
        runs = [values(feed) for feed in data]
    return {name: max(float(np.abs(run[name]).max()) for run in runs) for name in names}


@pytest.mark.parametrize("known", [(), ("r", "q")])
def test_no_value_is_larger_than_it_can_be(known, tmp_path):
    graph, data = network(tmp_path / "model.onnx"), feeds(20, 3.0)
    seen = seen_of(graph, data, "arcspfgqy")
    largest = max(float(np.abs(feed["x"]).max()) for feed in data)
    bounds = magnitudes(read_model(graph.path).graph, {"x": largest, **{name: seen[name] for name in known}})
    assert set(bounds) == (set("xarcspfgqy") if known else set("xarcspfg"))
    assert all(bounds[name] >= seen[name] for name in bounds if name != "x")
    assert bounds["c"] <= 30 * seen["c"]


def test_of_what_nothing_is_known_nothing_is_said(tmp_path):
    graph = network(tmp_path / "model.onnx")
    assert magnitudes(read_model(graph.path).graph, {}) == {}


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e4, 1e6])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_float16_has_the_same_exceptions_as_where_all_samples_show_every_value(scale, factor, tmp_path):
    graph, golden, samples = network(tmp_path / "model.onnx", scale), feeds(2), feeds(6, factor, seed=2)
    known = seen_of(graph, samples, "rq")
    assert fp16_exceptions(graph, golden, samples, known) == fp16_exceptions(graph, [*golden, *samples])


def test_samples_run_for_what_is_not_certain_only(tmp_path, monkeypatch):
    graph, golden, samples = network(tmp_path / "model.onnx"), feeds(2), feeds(6, seed=2)
    ran, seen = [], module._seen
    monkeypatch.setattr(module, "_seen", lambda graph, names, data: ran.append(set(names)) or seen(graph, names, data))
    assert fp16_exceptions(graph, golden, samples, seen_of(graph, samples, "rq")) == {}
    assert fp16_exceptions(graph, golden, samples, seen_of(graph, samples, "r")) == {}
    assert fp16_exceptions(graph, golden, samples) == {}
    assert ran[1::2] == [set(), {"q", "y"}, set("arcspfgqy")]
