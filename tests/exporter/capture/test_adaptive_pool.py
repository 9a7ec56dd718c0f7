"""Adaptive average pools whose input may have any height and width."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgepress import export
from edgepress.backends.base import AxisRange
from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import source_from_object


class Pooled(nn.Module):
    def __init__(self, size: int | tuple[int | None, int | None]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pool, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(size), nn.Conv2d(8, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.conv(image))).flatten(2)


@pytest.mark.parametrize("size", [1, 3, (2, 5)])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("target", ["cpu", "server-cpu"])
def test_free_sizes_are_pooled_as_torch_pools_them(
    tmp_path: Path, target: str, precision: str, size: int | tuple[int, int]
) -> None:
    net = Pooled(size).eval()
    image = torch.randn(64, 3, 16, 24, generator=torch.Generator().manual_seed(0)) + 1
    bundle = export(
        net, {"image": image[:2]}, target=target, precision=precision, output=tmp_path, name="pooled",
        dynamic={"image": {0: "batch", 2: "height", 3: "width"}},
        calibration=[{"image": x.numpy()} for x in image.split(8)], measure=False,
    )  # fmt: skip
    graph = onnxruntime.InferenceSession(bundle.graph.path, providers=["CPUExecutionProvider"])
    # In int8 the means of fewer places are wider than what the ranges were fitted to.
    for height, width in ((16, 24), (19, 31), *(() if precision == "int8" else ((3, 2), (40, 7), (1, 1)))):
        x = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(1)) + 1
        with torch.no_grad():
            right = net(x).numpy()
        error = graph.run(None, {"image": x.numpy()})[0] - right
        assert 10 * np.log10(np.sum(right**2) / np.sum(error**2)) > (90 if precision == "fp32" else 25)


class OfRows(nn.Module):
    """Whose free axis is the second of its input, and the third of what it pools."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x.unsqueeze(1), (5, 2))


class OneHeight(nn.Module):
    """Keeps the height that it is given."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x.unsqueeze(1).to(self.dtype), (None, 3)).float()


@pytest.mark.parametrize(
    ("module", "least"),
    [(OfRows(), 100), (OneHeight(torch.float32), 100), (OneHeight(torch.float64), 100), (OneHeight(torch.float16), 50)],
)
def test_rows_of_any_length_in_any_floats(tmp_path: Path, module: nn.Module, least: float) -> None:
    x = torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(0)) + 1
    source = source_from_object(module, {"x": x}, dynamic={"x": {0: "batch", 1: "time"}})
    ranges = {name: AxisRange(smallest=1, usual=2, largest=64) for name in ("batch", "time")}
    graph = capture(source, 18, tmp_path / "model.onnx", ranges)
    session = onnxruntime.InferenceSession(graph.path, providers=["CPUExecutionProvider"])
    for length in (50, 61, 7):
        x = torch.randn(2, length, 8, generator=torch.Generator().manual_seed(1)) + 1
        right = module(x).numpy()
        found = session.run(None, {"x": x.numpy()})[0]
        assert found.shape == right.shape
        assert 10 * np.log10(np.sum(right**2) / max(np.sum((found - right) ** 2), 1e-30)) > least


class Beside(nn.Module):
    """A picture of one size beside rows of any length."""

    def forward(self, image: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(image, (2, 3)).flatten(1) + rows.mean(1, keepdim=True)


def test_a_pool_of_a_known_size_stays_one_beside_what_is_free(tmp_path: Path) -> None:
    feed = {"image": torch.randn(2, 3, 8, 12), "rows": torch.randn(2, 9)}
    source = source_from_object(Beside(), feed, dynamic={"image": {0: "batch"}, "rows": {0: "batch", 1: "length"}})
    ranges = {name: AxisRange(smallest=1, usual=2, largest=64) for name in ("batch", "length")}
    graph = capture(source, 18, tmp_path / "model.onnx", ranges)
    operators = [node.op_type for node in onnx.load(graph.path).graph.node]
    assert "AveragePool" in operators and "MatMul" not in operators
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, 0).values())


@pytest.mark.parametrize("opset", [13, 16])
def test_windows_of_several_sizes_below_opset_18(tmp_path: Path, opset: int) -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    source = source_from_object(Pooled((5, 7)).eval(), {"image": x}, dynamic={"image": {0: "batch"}})
    graph = capture(source, opset, tmp_path / "model.onnx", {"batch": AxisRange(smallest=1, usual=2, largest=8)})
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, 0).values())


class Largest(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_max_pool2d(x, (5, 7))


def test_the_largest_of_such_windows_is_refused_in_the_users_terms(tmp_path: Path) -> None:
    source = source_from_object(Largest(), {"x": torch.randn(2, 3, 16, 16)})
    with pytest.raises(InputError, match="adaptive_max_pool2d to a size that does not divide") as caught:
        capture(source, 13, tmp_path / "model.onnx", {})
    assert "divides" in str(caught.value.hint)


def test_free_sizes_below_opset_18_are_refused_in_the_users_terms(tmp_path: Path) -> None:
    dynamic = {"image": {0: "batch", 2: "height"}}
    source = source_from_object(Pooled((5, 7)).eval(), {"image": torch.randn(2, 3, 32, 32)}, dynamic=dynamic)
    with pytest.raises(InputError, match="adaptive_avg_pool2d over a size that is free") as caught:
        capture(source, 13, tmp_path / "model.onnx", {})
    assert "Fix the size" in str(caught.value.hint)


@pytest.mark.parametrize("free", [{}, {2: "depth", 3: "height", 4: "width"}])
@pytest.mark.parametrize("size", [2, 3, (1, 2, 5)])
def test_volumes_are_pooled_as_torch_pools_them(
    tmp_path: Path, size: int | tuple[int, int, int], free: dict[int, str]
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.AdaptiveAvgPool3d(size), nn.Conv3d(4, 3, 1)).eval()
    bundle = export(
        net, {"x": torch.randn(2, 2, 8, 6, 10)}, target="server-cpu", precision="fp32", output=tmp_path, name="pooled",
        dynamic={"x": {0: "batch", **free}}, measure=False,
    )  # fmt: skip
    graph = onnxruntime.InferenceSession(bundle.graph.path, providers=["CPUExecutionProvider"])
    for shape in ((3, 2, 8, 6, 10), *([(3, 2, 5, 9, 7)] if free else [])):
        x = torch.randn(*shape, generator=torch.Generator().manual_seed(1)) + 1
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(graph.run(None, {"x": x.numpy()})[0]), net(x))
