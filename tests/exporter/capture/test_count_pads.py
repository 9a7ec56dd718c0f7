"""What an AveragePool divides by, on every runtime and in integers too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgepress import export
from edgepress.backends.base import AxisRange
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.sources import source_from_object

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
FREE = {"image": {0: "batch"}}
# Kernel, stride, pad: the last window reaches beyond the pad, begins in it (torch drops it), or does neither.
POOLS = [(3, 2, 1), (5, 3, 2), (3, 3, 1), (2, 2, 1), (4, 4, 2)]


def _db(right: np.ndarray, found: np.ndarray) -> float:
    assert right.shape == found.shape
    return float(10 * np.log10(np.sum(right**2) / max(np.sum((found - right) ** 2), 1e-30)))


def _run(directory: Path, target: str, feed: dict[str, np.ndarray]) -> np.ndarray:
    """As anybody opens it."""
    if target == "cpu":
        model = openvino.Core().compile_model(directory / "engine" / "model.xml", "CPU", FLOAT32)
        return np.array(next(iter(model(feed).values())))
    path = directory / "engine" / "model.onnx"
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed)[0]


class Pooled(nn.Module):
    def __init__(self, *pools: nn.Module, channels: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pools, self.head = nn.Conv2d(3, channels, 3), nn.ModuleList(pools), nn.Conv2d(channels, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.conv(image)
        return torch.cat([self.head(pool(x)).flatten(1) for pool in self.pools], 1)


@pytest.mark.parametrize("target", ["cpu", "server-cpu"])
def test_what_lies_beyond_the_pads_is_not_counted(tmp_path: Path, target: str) -> None:
    pools = [nn.AvgPool2d(k, s, p, ceil_mode=True) for k, s, p in POOLS]
    _shipped_right(Pooled(*pools, nn.AvgPool2d((3, 2), (2, 3), (0, 1), ceil_mode=True)), target, tmp_path)


def _shipped_right(net: nn.Module, target: str, directory: Path) -> None:
    """Over 90 dB in float, and 30 in int8."""
    image = torch.randn(128, 3, 13, 10, generator=torch.Generator().manual_seed(0)) + 1
    with torch.no_grad():
        right = net.eval()(image).numpy()
    for precision, least in (("fp32", 90), ("int8", 30)):
        bundle = export(
            net, {"image": image[:2]}, target=target, precision=precision, output=directory / precision, name="pooled",
            dynamic=FREE, calibration=[{"image": x.numpy()} for x in image.split(8)], measure=False,
        )  # fmt: skip
        assert _db(right, _run(bundle.path, target, {"image": image.numpy()})) > least


@pytest.mark.parametrize("target", ["cpu", "server-cpu"])
def test_a_divisor_is_kept(tmp_path: Path, target: str) -> None:
    """Both of torch's exporters drop it."""
    pools = [nn.AvgPool2d(3, 2, 1, ceil_mode=ceil, divisor_override=5) for ceil in (True, False)]
    pools.append(nn.AvgPool2d(4, 4, 2, ceil_mode=True, divisor_override=1, count_include_pad=False))
    _shipped_right(Pooled(*pools), target, tmp_path)


class Divided(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(x.to(self.dtype), 3, 2, 1, ceil_mode=True, divisor_override=5).float()


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("sizes", [(3, 8, 9), (2, 3, 8, 9)])
def test_a_divisor_is_kept_in_float16_and_of_one_image(
    tmp_path: Path, sizes: tuple[int, ...], dtype: torch.dtype, opset: int
) -> None:
    x = torch.randn(sizes, generator=torch.Generator().manual_seed(0)) + 1
    source = source_from_object(Divided(dtype), {"x": x})
    graph = capture(source, opset, tmp_path / "model.onnx", {})
    session = onnxruntime.InferenceSession(graph.path, providers=["CPUExecutionProvider"])
    least = 50 if dtype == torch.float16 else 100
    assert _db(Divided(dtype)(x).numpy(), session.run(None, {"x": x.numpy()})[0]) > least


class Summed(nn.Module):
    """A volume and images of free sizes, summed in windows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = nn.functional.avg_pool2d(x[:, :, 0], (3, 2), (2, 3), 1, ceil_mode=True, divisor_override=2)
        deep = nn.functional.avg_pool3d(x, 3, 2, 1, ceil_mode=True, divisor_override=7)
        return flat.sum((2, 3)) + deep.sum((2, 3, 4)) + nn.functional.avg_pool2d(x[:, :, 0], 3).sum((2, 3))


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_a_divisor_of_free_sizes_and_volumes(tmp_path: Path, opset: int) -> None:
    x = torch.randn(2, 3, 6, 8, 7, generator=torch.Generator().manual_seed(0)) + 1
    source = source_from_object(Summed(), {"x": x}, dynamic={"x": {3: "height"}})
    axes = {"height": AxisRange(smallest=6, usual=8, largest=20)}
    session = onnxruntime.InferenceSession(
        capture(source, opset, tmp_path / "model.onnx", axes).path, providers=["CPUExecutionProvider"]
    )
    for more in range(6):
        other = torch.randn(2, 3, 6, 8 + more, 7) + 1
        assert _db(Summed()(other).numpy(), session.run(None, {"x": other.numpy()})[0]) > 90


class Row(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool1d(x, 5, 4, 2, ceil_mode=True)


class Volume(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool3d(x, 3, 2, 1, ceil_mode=True)


class Square(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(x, 4, 4, 2, ceil_mode=True)


@pytest.mark.parametrize(("module", "sizes"), [(Row, (11,)), (Square, (9, 10)), (Volume, (6, 8, 7))])
def test_sizes_that_are_free(tmp_path: Path, module: type[nn.Module], sizes: tuple[int, ...]) -> None:
    """Whether the last window is one of torch's is then known only when it runs."""
    x = torch.randn(2, 3, *sizes, generator=torch.Generator().manual_seed(0)) + 1
    axes = {"x": {2 + axis: f"size{axis}" for axis in range(len(sizes))}}
    ranges = {f"size{i}": AxisRange(smallest=6, usual=size, largest=20) for i, size in enumerate(sizes)}
    bundle = export(
        module().eval(), {"x": x}, target="cpu", precision="fp32", output=tmp_path, name="free", dynamic=axes,
        axes=ranges, measure=False,
    )  # fmt: skip
    for more in range(8):
        other = torch.randn(2, 3, *(size + more for size in sizes)) + 1
        assert _db(module()(other).numpy(), _run(bundle.path, "cpu", {"x": other.numpy()})) > 90


EVEN, UNEVEN = [1, 1, 1, 1], [0, 2, 2, 1]


# A file means the same at every opset; even pads show it, as runtimes count otherwise there.
@pytest.mark.parametrize(
    ("opset", "pads"),
    [(11, EVEN), (13, EVEN), (18, EVEN), (18, UNEVEN), (19, EVEN), (19, UNEVEN), (22, EVEN), (23, EVEN)],
)
def test_a_file_means_what_onnxruntime_computes(tmp_path: Path, opset: int, pads: list[int]) -> None:
    """And torch; see decision 74."""
    pool = helper.make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=pads, ceil_mode=1, count_include_pad=1
    )
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, *size]) for name, size in
            (("x", (8, 8)), ("y", (None, None)))]  # fmt: skip
    model = helper.make_model(
        helper.make_graph([pool], "pool", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )  # fmt: skip
    path = tmp_path / "pool.onnx"
    onnx.save(model, path)
    x = np.random.default_rng(0).normal(1, 1, (1, 3, 8, 8)).astype(np.float32)
    top, left, bottom, right_pad = pads
    # Zeros first, then a pool that counts all there is, but for windows that begin in the last zeros.
    padded = nn.functional.pad(torch.from_numpy(x), (left, right_pad, top, bottom))
    right = nn.functional.avg_pool2d(padded, 3, 2, ceil_mode=True)[..., : (9 + top) // 2, : (9 + left) // 2].numpy()
    for target in ("cpu", "server-cpu"):
        bundle = export(path, target=target, precision="fp32", output=tmp_path / target, measure=False)
        assert _db(right, _run(bundle.path, target, {"x": x})) > 90


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_pool_in_a_branch_is_rewritten_as_well(tmp_path: Path, precision: str) -> None:
    """OpenVINO read it otherwise there: such an export was refused."""
    rng, value = np.random.default_rng(0), helper.make_tensor_value_info
    pooled = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1, "count_include_pad": 1}
    then, other = [helper.make_node("AveragePool", ["c"], [name], **pooled) for name in ("p", "q")]
    negated = helper.make_node("Neg", ["q"], ["n"])
    result = {name: value(name, TensorProto.FLOAT, None) for name in ("p", "n")}
    branches = {
        "then_branch": helper.make_graph([then], "then", [], [result["p"]]),
        "else_branch": helper.make_graph([other, negated], "else", [], [result["n"]]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["is"]),
        helper.make_node("If", ["is"], ["r"], **branches),
        helper.make_node("Conv", ["r", "v"], ["y"]),
    ]
    arrays = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        "zero": np.float32(0),
    }
    ends = value("x", TensorProto.FLOAT, [2, 3, 8, 8]), value("y", TensorProto.FLOAT, [2, 4, 5, 5])
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", [ends[0]], [ends[1]], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    data = [{"x": (rng.normal(size=(2, 3, 8, 8)) + sign).astype(np.float32)} for sign in [1, -1] * 16]
    bundle = export(
        str(tmp_path / "m.onnx"), target="cpu", precision=precision, calibration=data, measure=False,
        output=tmp_path / "dist",
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for feed in data[:2]:
        least = 90 if precision == "fp32" else 30
        assert _db(session.run(None, feed)[0], _run(bundle.path, "cpu", feed)) > least
