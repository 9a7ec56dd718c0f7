"""Operators of torch that are written with others: what they compute is the same."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from edgepress import export
from edgepress.errors import InputError, VerificationError


class Behind(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense, self.function = nn.Linear(8, 7), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.dense(x))


def shipped(net: nn.Module, x: torch.Tensor, path: Path, dynamic: dict[int, str]) -> Path:
    given = {"target": "server-cpu", "precision": "fp32", "measure": False}
    return export(net.eval(), {"x": x}, dynamic={"x": dynamic}, output=path, **given).path / "model.onnx"


@pytest.mark.parametrize("dim", [1, -1, 0])
def test_a_running_product_is_that_of_torch(tmp_path: Path, dim: int) -> None:
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    net = Behind(lambda value: torch.cumprod(value, dim))
    path = shipped(net, x, tmp_path, {} if dim == 0 else {0: "n"})
    (found,) = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net(x).detach())


def test_a_running_product_along_a_free_axis_says_so(tmp_path: Path) -> None:
    """It was called a fault of torch's exporter as well, with the file that that one makes as the way out."""
    with pytest.raises(InputError, match=": cumprod runs along an axis whose size is free") as caught:
        shipped(Behind(lambda value: torch.cumprod(value, 0)), torch.randn(5, 8), tmp_path, {0: "n"})
    assert (caught.value.hint or "").endswith("where x is positive.") and "Error" not in str(caught.value)
    assert "exporter of torch" not in str(caught.value)


def test_the_logarithm_of_a_sigmoid_is_finite_far_below_zero(tmp_path: Path) -> None:
    net = Behind(lambda value: torch.log(torch.sigmoid(40 * value)))
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    path, right = shipped(net, x, tmp_path, {0: "n"}), net(x).detach()
    assert right.min() < -30
    (found,) = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), right, rtol=1e-5, atol=1e-5)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (found,) = compiled({"x": x.numpy()}).values()
    torch.testing.assert_close(torch.from_numpy(found), right, rtol=1e-5, atol=1e-5)


def test_what_onnxruntime_alone_makes_infinite_is_told_with_its_node(tmp_path: Path) -> None:
    """The quotient by a sigmoid that is 0 for onnxruntime: the hint had been of masks that data select."""
    net = Behind(lambda value: 1 / torch.sigmoid(40 * value))
    with pytest.raises(VerificationError) as caught:
        shipped(net, torch.randn(16, 8, generator=torch.Generator().manual_seed(0)), tmp_path, {0: "n"})
    said = str(caught.value)
    assert "The first node that makes NaN or Inf of finite values is" in said and "A quotient by 0 is none" in said
