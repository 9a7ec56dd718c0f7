from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgepress.backends.base import AxisRange
from edgepress.errors import VerificationError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.graphs.sparsity import found_sparsity, graph_sparsity
from edgepress.exporter.pruning.sparse import sparsify
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.device.target import load_target, target_names


def fours(weight):
    return weight.movedim(1, -1).reshape(-1, 4)


def test_the_two_largest_of_each_four_input_channels_stay(loaded):
    module = copy.deepcopy(loaded("digits").module)
    given = copy.deepcopy(module)
    sparsify(module, lambda name: False)
    whole, sparse = given.stages[2].first[0].weight, module.stages[2].first[0].weight
    assert torch.equal((fours(sparse) != 0).sum(1), torch.full((len(fours(sparse)),), 2))
    for before, after in zip(fours(whole)[:200].tolist(), fours(sparse)[:200].tolist(), strict=True):
        largest = sorted(range(4), key=lambda i: -abs(before[i]))[:2]
        assert after == [before[i] if i in largest else 0.0 for i in range(4)]


def test_what_has_no_fours_or_is_kept_stays_dense_with_the_reason(loaded):
    module = copy.deepcopy(loaded("mobilenet").module)
    _, dense = sparsify(module, lambda name: name == "classifier")
    assert dense["classifier"] == "it is to be kept"
    assert "not divisible by 4" in dense["features.0"]
    assert "grouped" in dense["features.3.layers.3"]
    assert (module.classifier.weight != 0).all()


def test_zeros_are_put_back_after_a_step():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 4, 5))
    restore, _ = sparsify(net, lambda name: False)
    mask = net[0].weight.detach() != 0
    trained = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=0.1)
    trained(torch.randn(4, 8, 4, 4)).square().sum().backward()
    optimizer.step()
    assert (trained[0].weight[~mask] != 0).any()
    restore(trained)
    assert (trained[0].weight[~mask] == 0).all() and (trained[0].weight[mask] != 0).all()


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)).eval()
    rng = np.random.default_rng(0)
    feeds = [{"input": rng.normal(size=(4, 3, 12, 12)).astype(np.float32)} for _ in range(2)]
    return source_from_object(
        module,
        {"input": torch.randn(2, 3, 12, 12)},
        name="net",
        dynamic={"input": {0: "batch"}},
        calibration=lambda: iter(feeds),
    )


AXES = {"batch": AxisRange(smallest=1, usual=2, largest=8)}


@pytest.mark.parametrize("target", ["jetson", "rtx"])
def test_the_zeros_survive_capture_and_int8(target, net, tmp_path):
    from edgepress.calibration.collect import collect

    module = copy.deepcopy(net.module)
    sparsify(module, lambda name: False)
    graph = capture(replace(net, module=module), load_target(target).opset, tmp_path / "model.onnx", AXES)
    found = graph_sparsity(graph.path)
    assert (found.sparse, found.total) == (2, 3)
    assert list(found.dense.values()) == ["its 3 input channels are not divisible by 4"]
    quantizer = Quantizer.of(graph, load_target(target).scheme)
    quantizer.write(collect(graph, quantizer.placement.observed(), net.calibration), tmp_path / "int8.onnx")
    read_graph(tmp_path / "int8.onnx")
    assert (found_sparsity(tmp_path / "int8.onnx").sparse, found.total) == (2, 3)


def test_a_dense_graph_is_told(net, tmp_path):
    graph = capture(net, 20, tmp_path / "model.onnx", AXES)
    with pytest.raises(VerificationError, match="fewer than 2 zeros"):
        found_sparsity(graph.path)


def test_targets_say_what_they_like():
    targets = [load_target(name) for name in target_names()]
    assert {t.name for t in targets if t.sparse_weights} == {
        *(t.name for t in targets if "orin" in t.name or "thor" in t.name), "cuda", "rtx"
    }  # fmt: skip
    assert all(t.channel_multiple == (16 if t.backend.startswith("tensorrt") else 8) for t in targets if not _old(t))


def _old(target):
    return target.name in ("jetson-nano", "jetson-tx2-nx")  # no tensor cores
