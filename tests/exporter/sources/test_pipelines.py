"""`preprocess` and `postprocess` around a network: what sees the whole, and what sees the network."""

import textwrap

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.capture.scopes import AROUND, is_around
from edgepress.exporter.pipeline import axis_ranges
from edgepress.exporter.pruning import stage as prune
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.sources import load_source, source_from_object, torch_predict
from edgepress.exporter.sources.network import network_of, whole_of
from edgepress.exporter.training.data import training_data
from edgepress.profiles.device.target import load_target

FILE = """
    import torch
    from torch import nn

    def model():
        torch.manual_seed(0)
        convolutions = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 3)
        return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(144, 5))

    def preprocess(image):
        return nn.functional.interpolate(image.permute(0, 3, 1, 2).float(), size=(8, 8), mode="bilinear") / 255 - 0.5

    class Largest(nn.Module):
        def forward(self, scores):
            return {"label": scores.argmax(-1), "scores": scores.softmax(-1)}

    postprocess = Largest()

    def _images(seed):
        return torch.randint(0, 256, (2, 12, 10, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))

    def inputs():
        return {"image": _images(0)}

    def dynamic():
        return {"image": {0: "batch"}}

    def calibration():
        yield {"image": _images(1).numpy()}

    def training():
        yield {"image": _images(2)}, torch.tensor([0, 1])

    def loss(outputs, targets):
        assert outputs.shape == (2, 5)  # the network's, before postprocess
        return nn.functional.cross_entropy(outputs, targets)

    def evaluate(predict):
        found = predict({"image": _images(3)})
        return float(found["scores"].max(-1).mean())
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "photo.py"
    path.write_text(textwrap.dedent(FILE))
    return path


@pytest.mark.parametrize("opset", [17, pytest.param(20, marks=pytest.mark.slow)])
def test_whole_is_captured_and_its_nodes_say_what_they_are_of(file, tmp_path, opset):
    source = load_source(str(file))
    graph = capture(source, opset, tmp_path / "model.onnx", axis_ranges(source, Recipe()))
    parity = prove_capture(source, graph, seed=0)
    assert set(parity) == {"label", "scores"}
    assert [(spec.name, spec.dtype, spec.shape) for spec in graph.inputs] == [("image", "uint8", ("batch", 12, 10, 3))]
    nodes = list(ir.load(graph.path).graph)
    network = [node.name for node in nodes if not is_around(node)]
    assert [name for name in network if name.endswith(("Conv", "Gemm"))] == ["0/Conv", "2/Conv", "4/Gemm"]
    assert {node.op_type for node in nodes if node.name.startswith(AROUND[0])} >= {"Transpose", "Cast", "Resize"}
    assert {node.op_type for node in nodes if node.name.startswith(AROUND[1])} >= {"ArgMax", "Softmax"}
    assert all("Softmax" not in name and "Resize" not in name for name in network)


def test_network_alone_takes_what_preprocess_gives(file):
    source = load_source(str(file))
    network = network_of(source)
    assert {n: (a.dtype.name, a.shape) for n, a in network.inputs.items()} == {"input": ("float32", (2, 3, 8, 8))}
    assert network.dynamic == {"input": {0: "batch"}}
    assert next(iter(network.calibration()))["input"].shape == (2, 3, 8, 8)
    batch, _ = next(iter(training_data(network, seed=0).batches(0)))
    assert batch["input"].dtype == torch.float32
    assert whole_of(network) is source
    scores = torch_predict(network)(network.inputs)["output"]
    assert np.array_equal(torch_predict(source)(source.inputs)["label"], scores.argmax(-1))


def test_digest_has_the_functions_in_it(file):
    before = load_source(str(file)).digest
    file.write_text(file.read_text().replace("- 0.5", "- 0.4"))
    assert load_source(str(file)).digest != before

    def other(x):
        return x.float()

    net = nn.Linear(3, 2)
    plain, piped = (source_from_object(net, torch.ones(2, 3), preprocess=step, name="net") for step in (None, other))
    assert plain.digest != piped.digest


def test_pruning_changes_the_network_alone(file):
    source, recipe = load_source(str(file)), Recipe(prune=0.3, pruned={"0": 8}, measure=False)
    prune.refuse(source, recipe)
    found = prune.run(
        source=source,
        target=load_target("cpu"),
        recipe=recipe,
        axes=axis_ranges(source, recipe),
        workshop=None,  # widths are given, so that nothing is measured
        advance=lambda share, note: None,
    )
    smaller = found["source"]
    assert found["original"] is source
    assert smaller.module.preprocess is source.module.preprocess
    assert smaller.module.network[0].out_channels == 8
    assert smaller.digest != source.digest
    assert set(torch_predict(smaller)(source.inputs)) == {"label", "scores"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("preprocess = 3", "preprocess is int"),
        ("preprocess = Largest", "preprocess is the class Largest"),
        ("def preprocess(picture): return picture", "picture"),
        ("def preprocess(image): return 'text'", "preprocess() gives str"),
        ("def postprocess(scores): return scores.nothing()", "nothing"),
    ],
)
def test_what_is_no_step_is_said(file, line, said):
    file.write_text(file.read_text() + f"\n{line}\n")
    with pytest.raises(InputError) as error:
        load_source(str(file))
    assert said in error.value.message
    assert "edgepress_" not in error.value.message


@pytest.mark.parametrize("opset", [17, 20])
def test_a_permuted_image_is_pooled_as_any_other(tmp_path, opset):
    """Its memory is channels_last, of which torch's pooling makes a Gather of single numbers."""

    def preprocess(image):
        return image.permute(0, 3, 1, 2).float() / 255

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.randint(0, 256, (2, 12, 10, 3), dtype=torch.uint8)
    axes = {"image": {0: "batch"}}
    source = source_from_object(network, {"image": images}, dynamic=axes, preprocess=preprocess)
    graph = capture(source, opset, tmp_path / "model.onnx", axis_ranges(source, Recipe()))
    operators = {node.op_type for node in ir.load(graph.path).graph}
    assert "GlobalAveragePool" in operators and not operators & {"Gather", "Range"}
    prove_capture(source, graph, 0)
