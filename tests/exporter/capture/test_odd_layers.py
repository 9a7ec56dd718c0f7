"""Layers that an exporter or a runtime takes for something else, through a whole export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from edgepress import export
from edgepress.backends.registry import load_backend
from edgepress.exporter.capture.rewrites.wrap_by_slices import wrap_by_slices


class Padded(nn.Module):
    """A stem as BiT's: zeros around values of either sign, and the largest of each window."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pool, self.head = nn.Conv2d(3, 8, 3), nn.MaxPool2d(3, 2), nn.Linear(8, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        # No value is positive, so that every window at the border has one of the zeros.
        pooled = self.pool(functional.pad(-self.conv(image).abs(), (1, 1, 1, 1)))
        return self.head(pooled.mean((2, 3)))


@pytest.mark.parametrize("target", ["server-cpu", "cpu"])
def test_zeros_before_a_max_pool_stay_zeros(tmp_path: Path, target: str) -> None:
    image = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    batches = [{"image": (image * scale).numpy()} for scale in np.linspace(0.5, 1.5, 16, dtype=np.float32)]
    for precision in ("fp32", "int8"):
        bundle = export(
            Padded().eval(), {"image": image[:2]}, target=target, precision=precision, output=tmp_path / precision,
            name="padded", dynamic={"image": {0: "batch"}}, calibration=batches, measure=False,
        )  # fmt: skip
        # As anybody opens it, optimizations and all.
        session = onnxruntime.InferenceSession(bundle.graph.path, providers=["CPUExecutionProvider"])
        with torch.no_grad():
            right = Padded()(image).numpy()
        error = session.run(None, {"image": image.numpy()})[0] - right
        assert 10 * np.log10(np.sum(right**2) / np.sum(error**2)) > (25 if precision == "int8" else 90)


class Mixing(nn.Module):
    """Fourier transforms over places and channels, as an FNet has them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fftn(x, dim=(1, 2)).real


def test_openvino_transforms_along_the_axis_that_is_meant(tmp_path: Path) -> None:
    x = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    free = {"dynamic": {"x": {0: "batch"}}, "output": tmp_path, "measure": False}
    bundle = export(Mixing().eval(), {"x": x}, target="cpu", precision="fp32", name="mixing", **free)
    engine = bundle.engine
    assert engine is not None
    with load_backend("openvino").open(engine) as session:
        found = next(iter(session({"x": x.numpy()}).values()))
    np.testing.assert_allclose(found, Mixing()(x).numpy(), atol=1e-4)


class Circular(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding=2, dilation=2, padding_mode="circular")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(self.conv(x), (0, 3, 2, 1), mode="circular")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_openvino_pads_around(tmp_path: Path, precision: str) -> None:
    x = torch.randn(64, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    bundle = export(
        Circular().eval(), {"x": x[:2]}, target="cpu", precision=precision, output=tmp_path, name="circular",
        dynamic={"x": {0: "batch"}}, calibration=[{"x": batch.numpy()} for batch in x.split(8)], measure=False,
    )  # fmt: skip
    engine = bundle.engine
    assert engine is not None
    with load_backend("openvino").open(engine) as session:
        found = next(iter(session({"x": x.numpy()}).values()))
    with torch.no_grad():
        right = Circular().eval()(x).numpy()
    assert 10 * np.log10(np.sum(right**2) / np.sum((found - right) ** 2)) > (30 if precision == "int8" else 100)


@pytest.mark.parametrize("size", [3, "free"])
@pytest.mark.parametrize("added", [[0, 3, 0, 2], [0, 1, 0, 1], [0, 5, 0, 4], [0, 0, 0, 7], [0, 0, 0, 0]])
def test_what_goes_round_more_than_once_is_written_too(added: list[int], size: int | str) -> None:
    """Slices of the whole would hold too little."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name, n in
            (("x", size), ("y", 3 + sum(added) if size == 3 else "sum"))]  # fmt: skip
    pad = helper.make_node("Pad", ["x", "added"], ["y"], mode="wrap")
    graph = helper.make_graph([pad], "graph", ends[:1], ends[1:], [numpy_helper.from_array(np.array(added), "added")])
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    model = ir.from_proto(file)
    assert wrap_by_slices(model) == 1 and not any(node.op_type == "Pad" for node in model.graph)
    written = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(openvino.Core().read_model(written), "CPU")
    for count in (3,) if size == 3 else (1, 2, 3, 8):
        x = np.arange(count, dtype=np.float32)[None]
        right = np.pad(x, ((0, 0), (added[1], added[3])), "wrap")
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], right)
        np.testing.assert_array_equal(compiled([x])[0], right)


class Halves(nn.Module):
    """Spectra of real values and back, of even and of odd lengths, one of them filled up with zeros."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(x, dim=1)
        whole = torch.fft.irfft(spectrum * spectrum, n=x.shape[1], dim=1)
        long, short = torch.fft.rfft(x, n=20), torch.fft.irfft(torch.fft.rfft(x), n=5)
        return torch.cat([spectrum.abs().flatten(1), whole.flatten(1), long.imag.flatten(1), short.flatten(1)], 1)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("target", ["cpu", "server-cpu"])
def test_half_a_spectrum_is_what_torch_means(tmp_path: Path, target: str, size: int) -> None:
    x = torch.randn(2, size, size + 4, generator=torch.Generator().manual_seed(0))
    free = {"dynamic": {"x": {0: "batch"}}, "output": tmp_path, "measure": False}
    bundle = export(Halves().eval(), {"x": x}, target=target, precision="fp32", name="halves", **free)
    engine = bundle.engine
    assert engine is not None
    with load_backend("openvino" if target == "cpu" else "onnxruntime").open(engine) as session:
        found = next(iter(session({"x": x.numpy()}).values()))
    np.testing.assert_allclose(found, Halves()(x).numpy(), atol=1e-4)


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(torch.fft.rfft(x.double(), dim=1) * 2, n=8, dim=1).float()


def test_half_a_spectrum_in_float64(tmp_path: Path) -> None:
    x = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0))
    bundle = export(
        Doubled().eval(), {"x": x}, target="server-cpu", precision="fp32", output=tmp_path, name="doubled",
        dynamic={"x": {0: "batch"}}, measure=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(bundle.graph.path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], 2 * x.numpy(), atol=1e-6)


class NormedRows(nn.Module):
    """Linear layers whose features are normalized over all tokens as rows, and added, as a LeViT has them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(16, 16, bias=False) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm1d(16) for _ in range(3))
        for norm in self.norms:
            nn.init.uniform_(norm.weight, 0.3, 3)
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            y = layer(functional.hardswish(x))
            x = x + norm(y.flatten(0, 1)).reshape_as(y)
        return x


def test_a_norm_over_rows_becomes_part_of_its_linear_layer(tmp_path: Path) -> None:
    x = torch.randn(128, 9, 16, generator=torch.Generator().manual_seed(0))
    bundle = export(
        NormedRows().eval(), {"x": x[:2]}, target="cpu", precision="int8", output=tmp_path, name="rows",
        dynamic={"x": {0: "batch"}}, calibration=[{"x": batch.numpy()} for batch in x.split(8)], measure=False,
    )  # fmt: skip
    operators = [node.op_type for node in onnx.load(bundle.graph.path).graph.node]
    assert "BatchNormalization" not in operators
    assert "Reshape" not in operators
    assert sum(op in ("MatMul", "Gemm") for op in operators) == 3
    engine = bundle.engine
    assert engine is not None
    with load_backend("openvino").open(engine) as session:
        found = next(iter(session({"x": x.numpy()}).values()))
    with torch.no_grad():
        right = NormedRows().eval()(x).numpy()
    assert 10 * np.log10(np.sum(right**2) / np.sum((found - right) ** 2)) > 25


def test_a_pool_that_reaches_beyond_the_border_divides_by_what_it_saw(tmp_path: Path) -> None:
    """As EfficientNet's last pool, whose kernel is larger than any picture: in integers too."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(64, ceil_mode=True), nn.Flatten(), nn.Linear(8, 4))
    image = torch.randn(128, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    bundle = export(
        net.eval(), {"image": image[:2]}, target="server-cpu", precision="int8", output=tmp_path, name="pooled",
        dynamic={"image": {0: "batch"}}, calibration=[{"image": x.numpy()} for x in image.split(8)], measure=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(bundle.path / "engine" / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        right = net(image).numpy()
    error = session.run(None, {"image": image.numpy()})[0] - right
    assert 10 * np.log10(np.sum(right**2) / np.sum(error**2)) > 25
