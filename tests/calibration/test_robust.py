"""Data and activations that break calibrators: constants, denormals, outliers, one sample, many, ragged, not finite."""

import subprocess
import sys
import textwrap

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.calibration.collect import collect
from edgepress.errors import InputError
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.lifts import LIFTS
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.profiles.device.target import load_target

SCHEMES = {name: load_target(name).scheme for name in ("cpu", "server-cpu", "rpi5", "rtx")}
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(8, 3, 8, 8)).astype(np.float32)


def save(path, nodes, inputs, output, constants):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return read_graph(path)


def network(path, dead=()):
    """Two convolutions and a Gemm; the channels named are dead: zero weights, zero bias."""
    rng = np.random.default_rng(1)
    first, bias = rng.normal(size=(6, 3, 3, 3)).astype(np.float32), rng.normal(size=6).astype(np.float32)
    first[list(dead)], bias[list(dead)] = 0, 0
    constants = {
        "w1": first,
        "b1": bias,
        "w2": rng.normal(size=(6, 1, 3, 3)).astype(np.float32),
        "b2": np.zeros(6, np.float32),
        "w3": rng.normal(size=(6, 4)).astype(np.float32),
        "b3": np.zeros(4, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="c1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], name="r1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="c2", group=6),
        helper.make_node("Relu", ["c2"], ["r2"], name="r2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="p"),
        helper.make_node("Flatten", ["p"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="y"),
    ]
    return save(path, nodes, [("x", TensorProto.FLOAT, ["n", 3, "h", "w"])], "y", constants)


def int8(graph, scheme, batches, path):
    quantizer = Quantizer.of(graph, scheme, lifts=LIFTS.names())
    statistics = collect(graph, quantizer.placement.observed(), lambda: iter(batches))
    quantizer.write(statistics, path)
    onnx.checker.check_model(str(path), full_check=True)
    return statistics


def outputs(path, feed):
    options = ort.SessionOptions()
    # Also on processors whose kernels for u8 and s8 saturate.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(path, options).run(None, feed)[0]


def outlier(images):
    changed = images.copy()
    changed[3, 1, 4, 4] = 1e6
    return changed


DATA = {
    "zeros": [np.zeros_like(IMAGES)],
    "constant": [np.full_like(IMAGES, 0.5)],
    "denormals": [np.full_like(IMAGES, 1e-42)],
    "outlier": [outlier(IMAGES)],
    "one sample": [IMAGES[:1]],
    "varying batches, ragged last": [IMAGES[:4], IMAGES[4:5], IMAGES[5:7], IMAGES[7:]],
    "varying sizes of image": [IMAGES, IMAGES[:2, :, :5], IMAGES[:3, :, :, :6]],
    "an empty batch among others": [IMAGES[:4], IMAGES[:0], IMAGES[4:]],
}


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("data", DATA)
def test_odd_data_give_a_graph_that_stays_finite_and_reproduces_them(data, name, tmp_path):
    graph = network(tmp_path / "model.onnx")
    batches = [{"x": batch} for batch in DATA[data]]
    statistics = int8(graph, SCHEMES[name], batches, tmp_path / "int8.onnx")
    assert statistics.samples == sum(len(batch) for batch in DATA[data])
    assert np.isfinite(outputs(tmp_path / "int8.onnx", {"x": IMAGES})).all()
    if data != "outlier":
        expected, found = (outputs(tmp_path / f"{stem}.onnx", batches[0]) for stem in ("model", "int8"))
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("name", SCHEMES)
def test_an_outlier_does_not_drown_the_rest(name, tmp_path):
    """One value 75 times the size of all others, in 60,000; min-max would leave these four levels."""
    graph, batches = network(tmp_path / "model.onnx"), [{"x": IMAGES.repeat(40, axis=0)}]
    batches[0]["x"][3, 1, 4, 4] = 300
    int8(graph, SCHEMES[name], batches, tmp_path / "int8.onnx")
    expected, found = (outputs(tmp_path / f"{stem}.onnx", {"x": IMAGES}) for stem in ("model", "int8"))
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("name", SCHEMES)
def test_dead_channels_cost_nothing(name, tmp_path):
    errors = []
    for dead in ((), (1, 4)):
        graph = network(tmp_path / "model.onnx", dead)
        int8(graph, SCHEMES[name], [{"x": IMAGES}], tmp_path / "int8.onnx")
        expected, found = (outputs(tmp_path / f"{stem}.onnx", {"x": IMAGES}) for stem in ("model", "int8"))
        errors.append(np.abs(found - expected).max() / np.abs(expected).max())
    assert max(errors) < 0.05


@pytest.mark.parametrize(("bad", "power"), [(3e38, "Inf"), (np.float32(1e30), "NaN")])
def test_activations_that_are_not_finite_name_the_tensor_and_the_first_sample(bad, power, tmp_path):
    """Inf by overflow; NaN as Inf minus Inf."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="h"),
        helper.make_node("Sub", ["h", "h"], ["d"], name="d"),
        helper.make_node("MatMul", ["d" if power == "NaN" else "h", "v"], ["y"], name="y"),
    ]
    constants = {"w": np.full((3, 3), 1e10, np.float32), "v": np.ones((3, 2), np.float32)}
    graph = save(tmp_path / "model.onnx", nodes, [("x", TensorProto.FLOAT, ["n", 3])], "y", constants)
    quantizer = Quantizer.of(graph, SCHEMES["cpu"])
    feeds = [{"x": np.ones((4, 3), np.float32)} for _ in range(3)]
    feeds[1]["x"][2] = bad
    name = "d" if power == "NaN" else "h"
    with pytest.raises(InputError, match=rf"tensor '{name}' became NaN or Inf at calibration sample 6\."):
        collect(graph, quantizer.placement.observed(), lambda: iter(feeds))


def test_only_empty_batches_are_an_error(tmp_path):
    graph = network(tmp_path / "model.onnx")
    quantizer = Quantizer.of(graph, SCHEMES["cpu"])
    with pytest.raises(InputError, match="empty"):
        collect(graph, quantizer.placement.observed(), lambda: iter([{"x": IMAGES[:0]}]))


@pytest.mark.parametrize("name", SCHEMES)
def test_integer_inputs_stay_integers_and_what_they_select_is_quantized(name, tmp_path):
    rng = np.random.default_rng(2)
    constants = {
        "table": rng.normal(size=(20, 8)).astype(np.float32),
        "w": rng.normal(size=(8, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], name="e"),
        helper.make_node("MatMul", ["e", "w"], ["y"], name="y"),
    ]
    graph = save(tmp_path / "model.onnx", nodes, [("ids", TensorProto.INT64, ["n", "t"])], "y", constants)
    feeds = [{"ids": rng.integers(0, 20, (n, t))} for n, t in ((4, 7), (2, 3), (1, 12))]
    statistics = int8(graph, SCHEMES[name], feeds, tmp_path / "int8.onnx")
    assert list(statistics.tensors) == ["e"] and statistics.tensors["e"].count == 8 * (28 + 6 + 12)
    expected, found = (outputs(tmp_path / f"{stem}.onnx", feeds[0]) for stem in ("model", "int8"))
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def fork(path):
    """Two convolutions of very different size that are joined, one of them clipped; a third reads the join."""
    rng = np.random.default_rng(3)
    constants = {
        "w1": rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        "w2": 30 * rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        "w3": rng.normal(size=(2, 8, 1, 1)).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(6),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="a"),
        helper.make_node("Conv", ["x", "w2"], ["b"], name="b"),
        helper.make_node("Clip", ["b", "low", "high"], ["c"], name="c"),
        helper.make_node("Concat", ["a", "c"], ["j"], name="j", axis=1),
        helper.make_node("Conv", ["j", "w3"], ["y"], name="y"),
    ]
    return save(path, nodes, [("x", TensorProto.FLOAT, ["n", 3, 8, 8])], "y", constants)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_concat_reads_and_gives_one_scale(name, tmp_path):
    graph = fork(tmp_path / "model.onnx")
    int8(graph, SCHEMES[name], [{"x": IMAGES}], tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    (join,) = [node for node in model.graph.node if node.op_type == "Concat"]
    pairs = [makers[name] for name in join.input]
    pairs += [node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == join.output[0]]
    # What an operator only moves is on its grid already, where the runtime takes that for granted.
    behind = [] if SCHEMES[name].carried else ["QuantizeLinear"]
    assert [node.op_type for node in pairs] == ["DequantizeLinear", "DequantizeLinear", *behind]
    assert len({(values[node.input[1]].item(), values[node.input[2]].item()) for node in pairs}) == 1


@pytest.mark.parametrize(("name", "smallest"), [("cpu", 0), ("server-cpu", 0), ("rpi5", -128)])
def test_the_range_of_a_clipped_convolution_starts_at_the_smallest_integer(name, smallest, tmp_path):
    """Or the runtime would not fold the Relu or Clip into the convolution."""
    int8(network(tmp_path / "model.onnx"), SCHEMES[name], [{"x": IMAGES}], tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    points = [values[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    after = [node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0][0] == "r"]
    assert len(points) > len(after) == 2
    assert all(values[point].item() == smallest for point in after)


MEMORY = """
    import sys
    from pathlib import Path
    import numpy as np
    from edgepress.calibration.collect import collect
    from edgepress.exporter.graphs.files import read_graph
    from edgepress.exporter.quantization.quantizer import Quantizer
    from edgepress.profiles.device.target import load_target

    def status(field):
        text = Path("/proc/self/status").read_text()
        return int(text.split(field + ":")[1].split()[0])

    graph = read_graph(Path(sys.argv[1]))
    quantizer = Quantizer.of(graph, load_target("server-cpu").scheme)
    batch = np.random.default_rng(0).normal(size=(16, 3, 16, 16)).astype(np.float32)

    def feeds(samples):
        return lambda: ({"x": batch + np.float32(i)} for i in range(samples // 16))

    for samples in (64, 64, int(sys.argv[2])):
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
        found = collect(graph, quantizer.placement.observed(), feeds(samples))
        print(found.samples, before, status("VmHWM"))
"""


def test_ten_thousand_samples_take_no_more_memory_than_sixty_four(tmp_path):
    network(tmp_path / "model.onnx")
    command = [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path / "model.onnx"), "10000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    (_, _, few), (_, _, warm), (samples, _, many) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert samples == 10000
    assert many - max(few, warm) < 4096, f"{few} kB and {warm} kB at 64 samples, {many} kB at {samples}"
