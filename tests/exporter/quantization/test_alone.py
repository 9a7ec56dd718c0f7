"""Sums, gates and pools stay float where all layers beside them do, and are integers where one is."""

import pytest
import torch
from torch import nn

from edgepress.exporter.capture.capture import capture
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.device.target import load_target


class Stage(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.into, self.inner, self.pool = (
            nn.Conv2d(before, after, 1),
            nn.Conv2d(after, after, 3, padding=1),
            nn.MaxPool2d(2),
        )

    def forward(self, x):
        x = nn.functional.silu(self.into(x))
        return self.pool(x + self.inner(x))


class Stages(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = Stage(3, 8), Stage(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.two(self.one(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    torch.manual_seed(0)
    source = source_from_object(Stages().eval(), {"x": torch.randn(2, 3, 16, 16)}, name="stages")
    return capture(source, 17, tmp_path_factory.mktemp("stages") / "model.onnx", {})


def rounded(graph, target, exclude):
    """Types of the operators that read something in integers, by the first part of their names."""
    quantizer = Quantizer.of(graph, load_target(target).scheme, exclude)
    readers = {node for of in quantizer.placement.edges.values() for node, _ in of}
    return {(str(node.name).partition("/")[0].split(".")[0], node.op_type) for node in readers}


@pytest.mark.parametrize("target", ["cpu", "server-cpu", "mobile", "jetson"])
def test_nothing_between_layers_in_float_is_rounded(graph, target):
    everything = rounded(graph, target, ())
    without = rounded(graph, target, ("one.*",))
    assert {stage for stage, kind in everything if kind != "Conv"} >= {"one", "two"}
    assert not {kind for stage, kind in without if stage == "one"} & {"Add", "Mul", "Sigmoid"}
    assert {one for one in without if one[0] == "two"} == {one for one in everything if one[0] == "two"}


@pytest.mark.parametrize("target", ["cpu", "server-cpu", "mobile", "jetson"])
def test_one_layer_of_integers_keeps_what_is_beside_it(graph, target):
    assert rounded(graph, target, ("one.into*", "two*", "head*")) >= {("one", "Add"), ("one", "Conv")}


def test_only_the_head_in_integers_leaves_one_pair(graph):
    assert rounded(graph, "cpu", ("one*", "two*")) == {("head", "Gemm")}
