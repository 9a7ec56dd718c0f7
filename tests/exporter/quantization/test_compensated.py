"""Weights rounded by what layers read: nearer on samples that they were not fitted to, in the very same graph."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

import edgepress
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.graphs.files import read_model
from edgepress.exporter.language.compensation import ReadMoments, compensate, damp, inverse_factor, moved_by, shift_of
from edgepress.exporter.language.rounding import middle
from edgepress.exporter.quantization.compensated import _Inside
from edgepress.profiles.device.grid import Grid

from ._trained import hard


class Layers(nn.Module):
    """One of each kind whose weight is a matrix over what it reads, and a transposed one, which is none."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Conv1d(4, 8, 3, padding=1)
        self.plane = nn.Sequential(
            nn.Conv2d(8, 8, (3, 1), padding=(2, 0), dilation=(2, 1), groups=4),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(16, 16, 1),
        )
        self.first, self.last = nn.Linear(16, 32), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.line(x)).reshape(-1, 8, 6, 6)
        y = torch.relu(self.plane(y)).mean(dim=(2, 3))
        scores: torch.Tensor = self.last(torch.relu(self.first(y)))
        return scores


def data(batches: int) -> list[dict[str, np.ndarray[Any, Any]]]:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4))  # channels that are of one kind with each other are what errors are made good by
    return [
        {"x": np.einsum("bcl,cd->bdl", rng.normal(size=(16, 4, 36)), mixing).astype(np.float32)} for _ in range(batches)
    ]


def exported(directory: Path, **more: Any) -> edgepress.Bundle:
    options: dict[str, Any] = {
        "calibration": data(10),
        "minimum_sqnr_db": 80.0,
        "precision": "int8",
    }
    return edgepress.export(
        Layers().eval(),
        {"x": torch.from_numpy(data(1)[0]["x"][:2])},
        target=hard(bits=4),
        name="layers",
        dynamic={"x": {0: "n"}},
        measure=False,
        output=directory,
        **{**options, **more},
    )


def structure(path: Path) -> tuple[Counter[str], list[tuple[int, ...]]]:
    graph = onnx.load(path).graph
    return Counter(node.op_type for node in graph.node), sorted(tuple(i.dims) for i in graph.initializer)


def test_rounding_by_data_is_nearer_in_the_same_graph(tmp_path: Path) -> None:
    """By at least 3 dB where weights have 4 bits; the graphs differ in numbers alone."""
    plain = exported(tmp_path / "plain", minimum_sqnr_db=1.0, rungs=[])
    report = load_report(plain.path)
    assert report.ladder is None  # it holds at once, so that nothing is tried
    before = report.sensitivity.trials[0].sqnr_db
    rounded = exported(tmp_path / "rounded", minimum_sqnr_db=before + 3, rungs=["rounding"])
    found = load_report(rounded.path)
    assert [(step.name, step.holds, step.shipped) for step in found.ladder.steps] == [
        ("lifts", False, False),
        ("rounding", True, True),
    ]
    assert "6 layers rounded by 128 samples that they are not judged on" in found.ladder.steps[1].said
    assert structure(plain.path / "model.onnx") == structure(rounded.path / "model.onnx")
    ran = [[(layer.operator, layer.kernel) for layer in one.layers] for one in (report, found)]
    assert ran[0] == ran[1] and any(layer.integer for layer in report.layers)  # so that it is as fast
    assert edgepress.verify_bundle(rounded.path).parity["output"].sqnr_db > 3
    assert "ladder" in rounded.report.read_text()


def test_a_weight_that_is_rescaled_otherwise_is_rounded_to_the_nearest() -> None:
    """With a layer in float, lifts may rescale its neighbours otherwise than where their weights were fitted."""
    import onnx_ir as ir

    from edgepress.calibration.affine import Affine
    from edgepress.exporter.quantization.analysis.placement import place
    from edgepress.exporter.quantization.emitter import QdqEmitter
    from edgepress.exporter.quantization.fitted import FittedWeight, weight_digest

    weight = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    scheme = hard(bits=8).scheme
    assert scheme is not None
    scales = np.abs(weight).max(axis=0) / np.float32(127)
    one = FittedWeight(of=weight_digest(weight), values=np.tile(scales, (6, 1)), scales=scales)
    stored = {}
    for name, given in (("as fitted", weight), ("rescaled", weight * 2)):
        text = '<ir_version: 10, opset_import: ["": 20]> g (float[2,6] x) => (float[2,4] y) { y = MatMul (x, w) }'
        model = ir.from_onnx_text(text, initializers=[ir.Tensor(given, name="w")])
        (node,) = model.graph
        node.name = "layer"
        ranges = {name: Affine(scale=0.1, zero_point=0) for name in ("x", "y")}
        QdqEmitter(model.graph, scheme, ranges, fitted={"layer": one}).run(place(model.graph, scheme))
        stored[name] = model.graph.initializers["w_quantized"].const_value.numpy()
    assert (stored["as fitted"] == 1).all() and len(np.unique(stored["rescaled"])) > 10


def test_too_few_samples_are_said_and_nothing_is_rounded(tmp_path: Path) -> None:
    report = load_report(exported(tmp_path, calibration=data(4), precision="auto", rungs=["rounding"]).path)
    assert report.precision == "fp32" and "80 dB needed" in report.why_no("precision")


def test_given_scales_stay_and_less_is_lost_than_with_the_nearest() -> None:
    grid = Grid(bits=8, signed=True, symmetric=True, used=4)
    rng = np.random.default_rng(1)
    x = torch.from_numpy((rng.normal(size=(400, 24)) @ rng.normal(size=(24, 24))).astype(np.float32))
    weight = rng.normal(size=(7, 24)).astype(np.float32)
    scales = np.abs(weight).max(axis=1, keepdims=True) / grid.largest
    found = compensate(weight, x.T @ x, grid, scales=scales)
    assert np.array_equal(found.scales, scales.astype(np.float32))
    codes = found.codes.astype(np.float32) - middle(grid)
    assert codes.min() >= grid.smallest and codes.max() <= grid.largest
    nearest = np.rint(weight / scales).clip(grid.smallest, grid.largest)
    errors = [torch.from_numpy((weight - q * scales).astype(np.float32)) for q in (codes, nearest)]
    losses = [float((error @ x.T).square().sum()) for error in errors]
    assert losses[0] < 0.6 * losses[1]


def test_groups_at_once_are_each_by_itself() -> None:
    """Those of a depthwise convolution are hundreds, and small: one at a time they took minutes (mobileone_s0)."""
    torch.manual_seed(0)
    meant = torch.randn(5, 40, 9) + 1
    found = meant + 0.1 * torch.randn(5, 40, 9)
    meant[3], found[3] = 0, 0  # nothing was read
    together = ReadMoments(9, 5)
    for rows in (slice(0, 25), slice(25, 40)):
        together.add(meant[:, rows], found[:, rows])
    hessians, betweens = together.centred()
    for group in range(5):
        alone = ReadMoments(9)
        alone.add(meant[group], found[group])
        hessian, between = alone.centred()
        torch.testing.assert_close(hessians[group], hessian, rtol=1e-4, atol=1e-4)
        shift, factor = shift_of(hessian, between), inverse_factor(damp(hessian))
        torch.testing.assert_close(shift_of(hessians, betweens)[group], shift, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(inverse_factor(damp(hessians))[group], factor, rtol=1e-3, atol=1e-4)
    assert torch.equal(damp(hessians)[3], torch.eye(9)) and not shift_of(hessians, betweens)[3].any()
    weight, factors = torch.randn(5, 4, 9), inverse_factor(damp(hessians))
    moved = moved_by(weight @ betweens, hessians, factors)
    torch.testing.assert_close(moved, weight @ shift_of(hessians, betweens), rtol=1e-3, atol=1e-4)


def test_patches_times_the_weight_are_what_a_convolution_gives() -> None:
    """Of every window that one has, in the columns of the weight; and all of them where they are few."""
    import onnx_ir as ir

    from edgepress.exporter.quantization.analysis.placement import place
    from edgepress.exporter.quantization.patches import columns_of_weight, rows_read

    torch.manual_seed(0)
    given = "kernel_shape = [3, 2], strides = [2, 1], dilations = [1, 3], pads = [1, 0, 2, 1], group = 2"
    plane = f"(float[2,4,9,8] x) => (float[2,6,5,6] y) {{ y = Conv <{given}> (x, w) }}", (6, 2, 3, 2), (2, 4, 9, 8)
    strided = "y = Conv <strides = [2], pads = [1, 1]> (x, w)"
    line = f"(float[3,4,9] x) => (float[3,5,5] y) {{ {strided} }}", (5, 4, 3), (3, 4, 9)
    product = "(float[2,3,4] x) => (float[2,3,5] y) { y = MatMul (x, w) }", (4, 5), (2, 3, 4)
    for text, shape, read in (plane, line, product):
        weight, x = torch.randn(shape), torch.randn(read)
        model = ir.from_onnx_text(
            f'<ir_version: 10, opset_import: ["": 20]> g {text}', initializers=[ir.Tensor(weight.numpy(), name="w")]
        )
        (wanted,) = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x.numpy()})
        scheme = hard(bits=8).scheme
        assert scheme is not None
        (site,) = place(model.graph, scheme).weights
        rows = rows_read(site, x.numpy())
        matrices = weight.reshape(len(rows), shape[0] // len(rows), -1) if len(shape) > 2 else weight.T[None]
        outputs = torch.from_numpy(wanted).movedim(1, -1) if len(shape) > 2 else torch.from_numpy(wanted)
        found = (rows[..., columns_of_weight(site)] @ matrices.mT).movedim(0, 1).reshape(outputs.shape)
        torch.testing.assert_close(found, outputs, rtol=1e-5, atol=1e-5)


def test_what_few_outputs_lack_is_what_all_moments_say() -> None:
    """Taken through the weight at once, and about a mean; H mirrors itself."""
    torch.manual_seed(0)
    meant = torch.randn(2, 300, 260) + 1
    found, weight = meant + 0.1 * torch.randn(2, 300, 260), torch.randn(2, 3, 260)
    whole, short = (ReadMoments(260, 2, about_mean=True, through=through) for through in (None, weight))
    for moments in (whole, short):
        for part in (slice(0, 100), slice(100, 300)):
            moments.add(meant[:, part], found[:, part])
    hessian, between = whole.centred()
    torch.testing.assert_close(short.centred()[1], weight @ between, rtol=1e-3, atol=1e-2)
    rows = found - whole.origin[:, None]
    torch.testing.assert_close(whole.hessian, rows.mT @ rows, rtol=1e-4, atol=1e-3)
    assert torch.equal(hessian, short.centred()[0]) and torch.equal(whole.hessian, whole.hessian.mT)


def test_a_stage_runs_the_graph_no_further_than_its_layers_read(tmp_path: Path) -> None:
    """And all of it where they read its inputs: a graph without outputs does not open."""
    two = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[n, 2] x) => (float[n, 2] z)
        { y = Relu(x) w = Sqrt(y) z = Exp(w) }"""
    )
    onnx.save(two, tmp_path / "two.onnx")
    x = np.array([[4.0, -1.0]], np.float32)
    for read, nodes in (({"second": "y", "first": "x"}, ["Relu"]), ({"first": "x"}, ["Relu", "Sqrt", "Exp"])):
        with _Inside(read_model(tmp_path / "two.onnx"), read, tmp_path / "cut.onnx") as inside:
            assert [node.op_type for node in onnx.load(tmp_path / "cut.onnx").graph.node] == nodes
            found = inside({"x": x}, list(read))
        np.testing.assert_array_equal(found["first"], x)
        assert "second" not in read or found["second"].tolist() == [[4.0, 0.0]]
