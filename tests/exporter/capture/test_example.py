"""Example inputs of an ONNX file: sizes that it runs at, and values like the data's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress import export
from edgepress.backends.base import AxisRange
from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.example import with_example
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.pipeline import axis_ranges
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.sources import Source, load_source
from edgepress.profiles.device.target import load_target

RNG = np.random.default_rng(0)
Shape = Sequence[int | str]


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Shape]],
    constants: Mapping[str, np.ndarray],
    rank: int,
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "example",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def pyramid(path: Path) -> Path:
    """Down five times and up once, and both joined: height and width must be multiples of 32."""
    nodes, value, constants = [], "x", {"scales": np.array([1, 1, 2, 2], np.float32)}
    for level in range(5):
        constants[f"w{level}"] = RNG.standard_normal((4, 4 if level else 3, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [value, f"w{level}"], [f"c{level}"], pads=[1] * 4, strides=[2, 2]))
        value = f"c{level}"
    nodes.append(helper.make_node("Resize", ["c4", "", "scales"], ["up"], mode="nearest"))
    nodes.append(helper.make_node("Concat", ["c3", "up"], ["y"], axis=1))
    return write(path, nodes, {"x": (TensorProto.FLOAT, ["batch", 3, "height", "width"])}, constants, 4)


def table(path: Path) -> Path:
    """An embedding of bytes."""
    constants = {"table": RNG.standard_normal((257, 8)).astype(np.float32)}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("Mul", ["e", "gain"], ["g"]),
        helper.make_node("ReduceMean", ["g"], ["y"], axes=[1], keepdims=0),
    ]
    inputs = {"ids": (TensorProto.INT64, ["n", "length"]), "gain": (TensorProto.FLOAT, [])}
    return write(path, nodes, inputs, constants, 2)


def shaped(path: Path, **settings: object) -> tuple[Source, dict[str, AxisRange]]:
    recipe = Recipe(**settings)  # type: ignore[arg-type]
    source = with_example(load_source(str(path)), recipe, load_target("server-cpu"))
    return source, axis_ranges(source, recipe)


def prove(source: Source, axes: Mapping[str, AxisRange], path: Path) -> None:
    for agreement in prove_capture(source, capture(source, 17, path, axes), seed=0).values():
        assert agreement.sqnr_db > 100


def test_sizes_that_must_be_multiples_are_found(tmp_path: Path) -> None:
    source, axes = shaped(pyramid(tmp_path / "pyramid.onnx"))
    assert source.inputs["x"].shape == (2, 3, 32, 32)
    assert axes["height"] == AxisRange(smallest=32, usual=32, largest=256)
    assert axes["batch"] == AxisRange(smallest=1, usual=2, largest=16)
    prove(source, axes, tmp_path / "model.onnx")


def test_a_range_that_was_given_is_kept_to(tmp_path: Path) -> None:
    given = {name: AxisRange(smallest=64, usual=64, largest=64) for name in ("height", "width")}
    source, axes = shaped(pyramid(tmp_path / "pyramid.onnx"), axes=given)
    assert source.inputs["x"].shape == (2, 3, 64, 64)
    assert {name: axes[name] for name in given} == given
    prove(source, axes, tmp_path / "model.onnx")


def test_sizes_and_ranges_are_the_datas(tmp_path: Path) -> None:
    path = pyramid(tmp_path / "pyramid.onnx")
    data = RNG.uniform(100, 200, (6, 3, 96, 64)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=data)
    source, axes = shaped(path, calibration=str(tmp_path / "data.npz"))
    made = source.inputs["x"]
    assert made.shape == (2, 3, 96, 64)
    assert 100 <= made.min() < 120 < 180 < made.max() <= 200
    assert not any(np.array_equal(sample, each) for sample in made for each in data)
    prove(source, axes, tmp_path / "model.onnx")


def test_whole_numbers_are_the_datas(tmp_path: Path) -> None:
    path = table(tmp_path / "table.onnx")
    for index in range(4):
        (tmp_path / "data").mkdir(exist_ok=True)
        gain = np.array(1.5 + index, np.float32)
        np.savez(tmp_path / "data" / f"{index}.npz", ids=RNG.integers(0, 257, (2, 40)), gain=gain)
    source, axes = shaped(path, calibration=str(tmp_path / "data"))
    ids, gain = source.inputs["ids"], source.inputs["gain"]
    assert ids.shape == (2, 40)
    assert ids.max() > 200
    assert gain.shape == ()
    assert 1.5 <= gain <= 4.5
    prove(source, axes, tmp_path / "model.onnx")


@pytest.mark.parametrize(("values", "expected"), [([3, 7], {3, 7}), ([0, 1], {0, 1})])
def test_few_whole_numbers_are_a_code(values: list[int], expected: set[int], tmp_path: Path) -> None:
    path = table(tmp_path / "table.onnx")
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "0.npz", ids=RNG.choice(values, (2, 30)), gain=np.float32(1))
    source, _ = shaped(path, calibration=str(tmp_path / "data"))
    assert set(source.inputs["ids"].reshape(-1).tolist()) == expected


def test_one_size_a_name(tmp_path: Path) -> None:
    """`batch` is the first axis of one input and the second of another."""
    nodes = [helper.make_node("Transpose", ["b"], ["t"], perm=[1, 0]), helper.make_node("Add", ["a", "t"], ["y"])]
    inputs = {"a": (TensorProto.FLOAT, ["steps", "batch"]), "b": (TensorProto.FLOAT, ["batch", "steps"])}
    path = write(tmp_path / "names.onnx", nodes, inputs, {}, 2)
    assert {name: array.shape for name, array in load_source(str(path)).inputs.items()} == {"a": (16, 2), "b": (2, 16)}


def test_a_batch_without_elements_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for index, length in enumerate([0, 5]):
        array = np.full((2, length), 200)
        np.savez(tmp_path / "data" / f"{index}.npz", ids=array, gain=np.float32(1))
    source, _ = shaped(table(tmp_path / "net.onnx"), calibration=str(tmp_path / "data"))
    assert set(source.inputs["ids"].reshape(-1)) == {200}


def expanded(path: Path) -> Path:
    """A shape is an input, and fits the others at few values."""
    nodes = [helper.make_node("Expand", ["x", "sizes"], ["e"]), helper.make_node("Mul", ["e", "gain"], ["y"])]
    inputs = {"x": (TensorProto.FLOAT, [3, 1]), "sizes": (TensorProto.INT64, [3])}
    return write(path, nodes, inputs, {"gain": np.float32([2.0])}, 3)


def test_a_shape_that_never_varies_is_held_where_no_other_runs(tmp_path: Path) -> None:
    path, rng = expanded(tmp_path / "expanded.onnx"), np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    samples = [rng.standard_normal((3, 1)).astype(np.float32) for _ in range(3)]
    for index, x in enumerate(samples):
        np.savez(tmp_path / "data" / f"{index}.npz", x=x, sizes=np.array([5, 3, 4]))
    source, axes = shaped(path, calibration=str(tmp_path / "data"))
    assert source.held == {"sizes"}
    assert source.inputs["sizes"].tolist() == [5, 3, 4]
    assert not any(np.array_equal(source.inputs["x"], x) for x in samples)
    prove(source, axes, tmp_path / "model.onnx")


def test_what_varies_is_never_held(tmp_path: Path) -> None:
    path = expanded(tmp_path / "expanded.onnx")
    (tmp_path / "data").mkdir()
    for index in range(3):
        np.savez(tmp_path / "data" / f"{index}.npz", x=np.ones((3, 1), np.float32), sizes=np.array([5 + index, 3, 4]))
    source, _ = shaped(path, calibration=str(tmp_path / "data"))
    assert source.held == frozenset()


def test_a_shape_at_which_others_run_as_well_is_made_up(tmp_path: Path) -> None:
    nodes = [helper.make_node("Tile", ["x", "sizes"], ["y"])]
    inputs = {"x": (TensorProto.FLOAT, [3, 2]), "sizes": (TensorProto.INT64, [2])}
    path = write(tmp_path / "tiled.onnx", nodes, inputs, {}, 2)
    np.savez(tmp_path / "data.npz", x=np.ones((3, 2), np.float32), sizes=np.array([2, 3]))
    (tmp_path / "data").mkdir()
    (tmp_path / "data.npz").rename(tmp_path / "data" / "0.npz")
    source, _ = shaped(path, calibration=str(tmp_path / "data"))
    assert source.held == frozenset()


def test_an_input_without_any_values_has_none_in_the_proof(tmp_path: Path) -> None:
    nodes = [helper.make_node("Concat", ["x", "more"], ["y"], axis=0)]
    inputs = {"x": (TensorProto.FLOAT, [3]), "more": (TensorProto.FLOAT, [0])}
    path = write(tmp_path / "empty.onnx", nodes, inputs, {}, 1)
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "0.npz", x=np.ones(3, np.float32), more=np.ones(0, np.float32))
    source, _ = shaped(path, calibration=str(tmp_path / "data"))
    assert source.inputs["more"].shape == (0,)


def test_values_whose_squares_are_no_numbers(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    path = write(tmp_path / "wide.onnx", nodes, {"x": (TensorProto.DOUBLE, [2, 4])}, {}, 2)
    np.savez(tmp_path / "data.npz", x=np.linspace(-1e200, 2e200, 24).reshape(6, 4))
    source, _ = shaped(path, calibration=str(tmp_path / "data.npz"))
    assert np.isfinite(source.inputs["x"]).all()
    assert -1e200 <= source.inputs["x"].min() < source.inputs["x"].max() <= 2e200


def of_one_sample(path: Path, state: int | str) -> Path:
    """A batch that is declared free, and that a state of one sample fixes, or of a free axis of another name."""
    weights = {"w": (1, 12, 4), "r": (1, 12, 4)}
    constants = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["t", "w", "r", "", "", "h"], ["s", "last"], hidden_size=4),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    inputs = {"x": (TensorProto.FLOAT, ["batch", "frames", 4]), "h": (TensorProto.FLOAT, [1, state, 4])}
    return write(path, nodes, inputs, constants, 4)


@pytest.mark.parametrize(("state", "largest"), [(1, 1), ("states", 8)])
def test_a_batch_that_is_one_sample_inside_is_found_to_be(tmp_path: Path, state: int | str, largest: int) -> None:
    source, ranges = shaped(of_one_sample(tmp_path / "one.onnx", state))
    assert source.inputs["x"].shape[0] == 1
    assert (ranges["batch"].smallest, ranges["batch"].largest) == (1, largest)
    assert ranges["frames"].largest > 1
    graph = capture(source, 17, tmp_path / "captured.onnx", ranges)
    assert prove_capture(source, graph, 0)["y"].sqnr_db > 80


def test_a_file_whose_made_up_places_do_not_exist_asks_for_data(tmp_path: Path) -> None:
    """Regions of one picture: without data, whole numbers are 0 and 1, and there is no second picture."""
    value = helper.make_tensor_value_info
    ends = [
        value("picture", TensorProto.FLOAT, [1, 3, 8, 8]),
        value("regions", TensorProto.FLOAT, ["count", 4]),
        value("of", TensorProto.INT64, ["count"]),
    ]
    # Of this kind, regions whose corners are in no order are of one place, and no failure.
    kind = {"coordinate_transformation_mode": "output_half_pixel", "output_height": 2, "output_width": 2}
    node = helper.make_node("RoiAlign", ["picture", "regions", "of"], ["y"], **kind)
    graph = helper.make_graph([node], "g", ends, [value("y", TensorProto.FLOAT, ["count", 3, 2, 2])])
    path = tmp_path / "regions.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8), path)
    rng = np.random.default_rng(0)
    data = [
        {
            "picture": rng.normal(size=(1, 3, 8, 8)).astype(np.float32),
            "regions": np.sort(rng.uniform(0, 8, (4, 4)).astype(np.float32)),
            "of": np.zeros(4, np.int64),
        }
        for _ in range(4)
    ]
    with pytest.raises(InputError) as refused:
        export(path, target="server-cpu", precision="fp32", measure=False, output=tmp_path / "without")
    assert "give calibration data" in str(refused.value.hint)
    export(path, target="server-cpu", precision="fp32", calibration=data, measure=False, output=tmp_path / "with")
