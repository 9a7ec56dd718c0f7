"""`[preprocess]` of a recipe, in front of a module and of a file: what it computes, and what is said of it."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import onnx_ir as ir
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.example import with_example
from edgepress.exporter.capture.from_torch.torch_to_onnx import exported
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.capture.resized_as import likenesses, resize_evidence
from edgepress.exporter.capture.rewrites.cast_bytes_first import cast_bytes_first
from edgepress.exporter.capture.rewrites.clean_metadata import clean_metadata
from edgepress.exporter.capture.rewrites.scale_to_norm import scale_to_norm
from edgepress.exporter.pipeline import axis_ranges
from edgepress.exporter.recipe import PreprocessSettings, Recipe
from edgepress.exporter.sources import load_source, source_from_object, torch_predict
from edgepress.profiles.device.target import load_target

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CPU = load_target("cpu")


class Same(nn.Module):
    """Gives the image as the network sees it."""

    def forward(self, x):
        return functional.relu(x + 3)


def picture(height, width, batch=2):
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (batch, -(-height // 6), -(-width // 6), 3))
    return coarse.repeat(6, 1).repeat(6, 2)[:, :height, :width].astype(np.uint8)


def behind(settings):
    source = source_from_object(Same(), {"x": torch.rand(2, 3, 20, 30)}, dynamic={"x": {0: "batch"}})
    return with_example(source, Recipe(preprocess=settings), CPU)


def by_hand(images, size, pil):
    resized = [np.asarray(Image.fromarray(image).resize((size[1], size[0]), pil)) for image in images]
    return ((np.stack(resized) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("opset", [17, pytest.param(20, marks=pytest.mark.slow)])
def test_it_is_the_usual_arithmetic(tmp_path, opset):
    source = behind(PreprocessSettings(colors="BGR", mean=MEAN, std=STD))
    assert (source.inputs["x"].dtype, source.inputs["x"].shape) == (np.dtype(np.uint8), (2, 20, 30, 3))
    graph = capture(source, opset, tmp_path / "model.onnx", axis_ranges(source, Recipe()))
    prove_capture(source, graph, seed=0)
    images = picture(20, 30)
    found = torch_predict(source)({"x": images})["output"]
    expected = by_hand(images[:, :, :, ::-1], (20, 30), Image.Resampling.BILINEAR)
    assert np.abs(found - np.maximum(expected + 3, 0)).max() < 1e-5


def test_what_is_free_beside_the_image_stays_free(tmp_path):
    """Height and width of images in bytes are fixed; how long a text is beside them is not."""

    class Both(nn.Module):
        def forward(self, x, words):
            return x.mean((2, 3)) + words.sum(1, keepdim=True)

    axes = {"x": {0: "batch", 2: "height"}, "words": {0: "batch", 1: "length"}}
    source = source_from_object(Both(), {"x": torch.rand(2, 3, 20, 30), "words": torch.rand(2, 5)}, dynamic=axes)
    feeds = [{"x": picture(20, 30), "words": np.ones((2, length), np.float32)} for length in (4, 7)]
    given = with_example(
        replace(source, calibration=lambda: iter(feeds)), Recipe(preprocess=PreprocessSettings(input="x")), CPU
    )
    assert given.dynamic == {"x": {0: "batch"}, "words": {0: "batch", 1: "length"}}
    graph = capture(given, 20, tmp_path / "model.onnx", axis_ranges(given, Recipe()))
    assert {spec.name: spec.shape for spec in graph.inputs} == {"x": ("batch", 20, 30, 3), "words": ("batch", "length")}
    prove_capture(given, graph, seed=0)


@pytest.mark.parametrize(
    ("resize", "size", "inner"),
    [("letterbox", (40, 40), (20, 20)), ("crop", (40, 40), (30, 30)), ("stretch", (40, 90), (20, 30))],
)
def test_sizes(resize, size, inner):
    source = behind(PreprocessSettings(size=size, resize=resize, interpolation="nearest", fill=51, divide=255))
    images = picture(*size)
    found = torch_predict(source)({"x": images})["output"] - 3
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    scaled = functional.interpolate(tensor, size=inner).numpy() / 255
    expected = np.full((2, 3, 20, 30), 51 / 255, np.float32)
    if resize == "letterbox":
        expected[:, :, :, 5:25] = scaled
    else:
        expected = scaled[:, :, 5:25] if resize == "crop" else scaled
    assert np.abs(found - expected).max() < 1e-5


def test_a_file_and_a_program_take_the_same(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    example = torch.rand(2, 3, 20, 30)
    settings = PreprocessSettings(size=(33, 47), resize="letterbox", mean=(0.5,), std=(0.25,))
    torch.onnx.export(
        net, (example,), tmp_path / "net.onnx", dynamo=False, opset_version=13, input_names=["x"], output_names=["y"]
    )
    program = torch.export.export(net, (example,))
    torch.export.save(program, tmp_path / "net.pt2")
    images, expected = picture(33, 47), None
    for name in ("net.onnx", "net.pt2"):
        source = with_example(load_source(str(tmp_path / name), trust=True), Recipe(preprocess=settings), CPU)
        graph = capture(source, 20, tmp_path / f"{name}-captured.onnx", {})
        prove_capture(source, graph, seed=0)
        (spec,) = graph.inputs
        assert (spec.dtype, spec.shape) == ("uint8", (2, 33, 47, 3))
        assert any(node.name == "preprocess()/Resize" for node in ir.load(graph.path).graph)
        from edgepress.backends.places import Reference

        (found,) = Reference().values(graph.path)({spec.name: images}).values()
        expected = found if expected is None else expected
        assert np.abs(found - expected).max() < 1e-4
        (evidence,) = resize_evidence(graph, {spec.name: images}, "here")
        as_opencv = "preprocess() resizes 47x33 to 30x20 (letterbox) as OpenCV's INTER_LINEAR"
        unknown = "preprocess() makes 47x33 to 30x20 (letterbox) in a way that is none of Pillow's: the nearest"
        assert evidence.claim.startswith(as_opencv if find_spec("cv2") else unknown)


def test_what_contradicts_is_refused():
    with pytest.raises(InputError, match="has a preprocess"):
        source = source_from_object(Same(), {"x": torch.rand(2, 3, 8, 8)}, preprocess=lambda x: x)
        with_example(source, Recipe(preprocess=PreprocessSettings()), CPU)
    with pytest.raises(InputError, match="an image of 1 or 3 channels can be none"):
        with_example(
            source_from_object(nn.Linear(4, 2), torch.rand(2, 4)), Recipe(preprocess=PreprocessSettings()), CPU
        )
    for wrong in ({"size": (0, 8)}, {"mean": (1.0, 2.0)}, {"std": (0.0,)}, {"fill": 300}, {"divide": 0}):
        with pytest.raises(InputError, match="preprocess: "):
            PreprocessSettings(**wrong)


@pytest.mark.parametrize(
    ("library", "way"),
    [("Pillow", "BILINEAR"), ("Pillow", "BICUBIC"), ("OpenCV", "INTER_LINEAR"), ("OpenCV", "INTER_AREA")],
)
def test_the_resize_that_was_used_is_found(library, way):
    image = picture(60, 80, batch=1)[0]
    image = (image // 2 + np.random.default_rng(2).integers(0, 100, image.shape)).astype(np.uint8)
    if library == "OpenCV":
        cv2 = pytest.importorskip("cv2")
        resized = cv2.resize(image, (35, 21), interpolation=getattr(cv2, way))
    else:
        resized = np.asarray(Image.fromarray(image).resize((35, 21), Image.Resampling[way]))
    best, second = likenesses(image, (resized[:, :, ::-1] / 255.0 - MEAN) / STD)[:2]
    assert (best.library, best.way, best.fit, best.reversed) == (library, way, "stretch", True)
    assert best.most < 1e-6
    assert second.most > 5  # levels: the next one is plainly another


def test_torchs_ways_are_told_apart():
    image = picture(60, 80, batch=1)[0]
    image = (image // 2 + np.random.default_rng(2).integers(0, 100, image.shape)).astype(np.uint8)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()

    def best(**how):
        resized = functional.interpolate(planes, size=(21, 35), mode="bilinear", **how)[0].permute(1, 2, 0)
        return likenesses(image, resized.double().numpy() / 255)[0]

    smooth = best(antialias=True)
    assert (smooth.library, smooth.way, smooth.most < 1.5) == ("Pillow", "BILINEAR", True)
    plain = best()
    assert plain.most > 5 or (plain.library, plain.way) == ("OpenCV", "INTER_LINEAR")


@pytest.mark.parametrize("flip", [pytest.param(False, marks=pytest.mark.slow), True])
def test_bytes_are_cast_first_where_a_parser_wants_that(tmp_path, flip):
    source = behind(PreprocessSettings(size=(24, 24), colors="BGR" if flip else "RGB"))
    moved = capture(source, 20, tmp_path / "moved.onnx", axis_ranges(source, Recipe()))
    cast = capture(source, 20, tmp_path / "cast.onnx", axis_ranges(source, Recipe()), moves_bytes=False)
    prove_capture(source, cast, seed=0)
    nodes = list(ir.load(cast.path).graph)
    assert nodes[0].op_type == "Cast"
    assert [node.op_type for node in nodes].count("Cast") == 1
    for node in nodes[1:]:
        assert all(value is None or value.dtype != ir.DataType.UINT8 for value in node.inputs)
    assert next(iter(ir.load(moved.path).graph)).op_type == "Transpose"


def test_bytes_that_are_computed_with_stay_bytes(tmp_path):
    class Wraps(nn.Module):
        def forward(self, image):
            return (image.permute(0, 3, 1, 2) + 200).float()

    source = source_from_object(Wraps(), {"image": torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)})
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    model = ir.load(graph.path)
    assert cast_bytes_first(model) == 0
    prove_capture(source, graph, seed=0)


@pytest.mark.parametrize(
    ("constants", "expected"),
    [
        (("Div", 255.0), None),
        (("Div", 255.0, "Sub", MEAN, "Div", STD), "BatchNormalization"),
        (("Mul", STD, "Add", 3.0, "Mul", 2.0), "BatchNormalization"),
        (("Add", MEAN, "Mul", 0.0), None),  # what all channels get again
    ],
)
def test_a_scale_a_channel_is_one_norm(constants, expected):
    """In a graph of our own, so that every form of a chain is there."""
    shape = ir.Shape([2, 3, 4, 5])
    given = ir.Value(name="x", shape=shape, type=ir.TensorType(ir.DataType.FLOAT))
    nodes, weights, value = [], [], given
    for index, (operator, number) in enumerate(zip(constants[::2], constants[1::2], strict=True)):
        array = np.asarray(number, np.float32)
        array = array.reshape(3, 1, 1) if array.size > 1 else array
        weight = ir.Value(name=f"c{index}", const_value=ir.tensor(array, name=f"c{index}"))
        node = ir.node(operator, [value, weight], name=f"preprocess()/{operator}_{index}")
        value = node.outputs[0]
        value.name, value.shape, value.type = f"v{index}", shape, ir.TensorType(ir.DataType.FLOAT)
        nodes.append(node)
        weights.append(weight)
    graph = ir.Graph([given], [value], nodes=nodes, initializers=weights, opset_imports={"": 17}, name="g")
    model = ir.Model(graph, ir_version=8)
    x = np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32)
    before = run(model, x)
    assert scale_to_norm(model) == (expected is not None)
    assert [node.op_type for node in graph] == ([expected] if expected else list(constants[::2]))
    assert np.abs(run(model, x) - before).max() < 1e-6


def run(model, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_the_networks_own_arithmetic_stays():
    source = source_from_object(Scaled(), {"x": torch.rand(2, 3, 8, 8)})
    model = exported(source, 17, None)
    clean_metadata(model, rename=True)
    assert scale_to_norm(model) == 0


class Scaled(nn.Module):
    def forward(self, x):
        return x * torch.tensor(STD).view(3, 1, 1)
