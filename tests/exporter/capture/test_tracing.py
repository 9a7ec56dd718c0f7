"""The tracing exporter, which opsets below 18 are written by: what it makes of calls, sizes and masks."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgepress.backends.base import AxisRange
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import source_from_object

FREE = {"batch": AxisRange(smallest=1, usual=2, largest=8)}


def proven(tmp_path, module, inputs, opset, *, free=True):
    dynamic = {name: {0: "batch"} for name in inputs} if free else {}
    source = source_from_object(module.eval(), inputs, name="net", dynamic=dynamic)
    graph = capture(source, opset, tmp_path / "model.onnx", FREE if free else {})
    return prove_capture(source, graph, seed=0)


class Defaults(nn.Linear):
    def forward(self, x, scale=2.0, flag=False, times=3, mask=None, shift=None, way="plus"):
        y = super().forward(x) * scale
        y = y + 100 if flag else y
        for _ in range(times):
            y = y + 1 if way == "plus" else y - 1
        return y if mask is None else y * mask + (0 if shift is None else shift)


@pytest.mark.parametrize("given", [{"x": (2, 16)}, {"x": (2, 16), "mask": (2, 4)}, {"shift": (2, 4), "x": (2, 16)}])
def test_what_is_not_given_is_as_the_signature_says(tmp_path, given):
    torch.manual_seed(0)
    inputs = {name: torch.rand(size) for name, size in given.items()}
    (found,) = proven(tmp_path, Defaults(16, 4), inputs, 16).values()
    assert found.sqnr_db > 100


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize(
    "module",
    [nn.Unflatten(-1, (4, 4)), nn.Unflatten(2, (-1, 8)), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)],
    ids=["sizes", "one left", "attention"],
)
def test_an_axis_is_divided(tmp_path, module, free):
    torch.manual_seed(0)
    name = "src" if isinstance(module, nn.TransformerEncoderLayer) else "input"
    (found,) = proven(tmp_path, module, {name: torch.rand(2, 6, 16)}, 16, free=free).values()
    assert found.sqnr_db > 100


class Attention(nn.Module):
    def __init__(self, **how):
        super().__init__()
        self.how = how

    def forward(self, q, k):
        return functional.scaled_dot_product_attention(q, k, k + 1, **self.how)


@pytest.mark.parametrize("opset", [13, 16])
@pytest.mark.parametrize("how", [{"is_causal": True}, {"enable_gqa": True}], ids=["causal", "grouped"])
def test_attention_that_torchs_own_form_lacks(tmp_path, opset, how):
    torch.manual_seed(0)
    heads = 2 if "enable_gqa" in how else 4
    inputs = {"q": torch.randn(2, 4, 6, 8), "k": torch.randn(2, heads, 9, 8)}
    source = source_from_object(Attention(**how), inputs, name="net", dynamic={"q": {2: "queries"}, "k": {2: "keys"}})
    sizes = {"queries": AxisRange(smallest=1, usual=6, largest=12), "keys": AxisRange(smallest=1, usual=9, largest=18)}
    (found,) = prove_capture(source, capture(source, opset, tmp_path / "model.onnx", sizes), seed=0).values()
    assert found.sqnr_db > 100


class BatchSecond(nn.MultiheadAttention):
    def forward(self, x):
        return super().forward(x, x, x)[0]


def test_a_reshape_that_optimizing_writes_is_of_the_opset(tmp_path):
    torch.manual_seed(0)
    source = source_from_object(
        BatchSecond(16, 4), {"x": torch.randn(10, 2, 16)}, name="net", dynamic={"x": {1: "batch"}}
    )
    (found,) = prove_capture(source, capture(source, 13, tmp_path / "model.onnx", FREE), seed=0).values()
    assert found.sqnr_db > 100


@pytest.mark.parametrize("kind", ["fx", "inference", "by name alone", "parameter"])
def test_modules_of_odd_origin(tmp_path, kind):
    torch.manual_seed(0)
    with torch.inference_mode(kind == "inference"):
        layers = [nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)]
    made = {"fx": lambda: torch.fx.symbolic_trace(nn.Sequential(*layers)), "by name alone": lambda: ByName(16, 4)}
    module = Constant(16, 4) if kind == "parameter" else made.get(kind, lambda: nn.Sequential(*layers))()
    for found in proven(tmp_path, module, {"input": torch.rand(2, 16)}, 16).values():
        assert found.sqnr_db > 100


class ByName(nn.Linear):
    def forward(self, *, input):
        return super().forward(input)


class Constant(nn.Linear):
    def forward(self, input):
        return super().forward(input), self.weight
