"""A captured graph that is wrong on the user's own data alone is refused; a model that amplifies rounding is not."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

import edgepress
from edgepress.backends.places import Reference
from edgepress.calibration.storage import save_statistics
from edgepress.errors import EdgepressError, InputError, VerificationError
from edgepress.exporter.bundle.manifest import Bundle
from edgepress.exporter.capture import onnx_to_opset
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.example import with_example
from edgepress.exporter.capture.from_torch import torch_to_onnx
from edgepress.exporter.capture.on_samples import proven_on_samples
from edgepress.exporter.capture.proof import Origin
from edgepress.exporter.capture.rewrites import exact_constants
from edgepress.exporter.quantization.gather import calibrate
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.sources import Predict, load_source, source_from_object
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.report import Report

GENERATOR = torch.Generator().manual_seed(0)


class Loudness(nn.Module):
    """A logarithm of power, kept finite in silence by a constant that onnxscript takes for 0 where nobody minds it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(torch.log(x * x + 1e-10) / 10)))


def quiet(level: float) -> list[dict[str, np.ndarray]]:
    """Batches of four: noise, and a passage at that level in one of each batch."""
    batches = []
    for seed in range(16):
        one = np.random.default_rng(seed).standard_normal((4, 16)).astype(np.float32)
        one[2, 4:] = level
        batches.append({"x": one})
    return batches


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault that was: constants below 1e-8 are zeros."""

    @contextlib.contextmanager
    def any_constant() -> Iterator[None]:
        yield

    for module in (torch_to_onnx, onnx_to_opset):
        if hasattr(module, exact_constants.__name__.rpartition(".")[2]):
            monkeypatch.setattr(module, "exact_constants", any_constant)


def report(bundle: Bundle) -> Report:
    return TypeAdapter(Report).validate_json((bundle.path / "report.json").read_bytes())


def given(kind: str, model: nn.Module, example: torch.Tensor, tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    if kind == "module":
        return model, {"inputs": {"x": example}, "dynamic": {"x": {0: "batch"}}}
    path = tmp_path / "model.onnx"
    free = {"x": {0: "batch"}}
    options = {"input_names": ["x"], "dynamic_axes": free, "dynamo": False, "opset_version": 17, "verbose": False}
    torch.onnx.export(model.eval(), (example,), path, **options)
    return path, {}


HELD = "held against the model"
EXAMPLE = torch.randn(4, 16, generator=GENERATOR)


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("level", [0.0, 1e-5])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("kind", ["module", "file"])
def test_a_graph_that_is_wrong_in_silence_is_refused(tmp_path: Path, kind: str, precision: str, level: float) -> None:
    source, more = given(kind, Loudness(), EXAMPLE, tmp_path)
    options = {"target": "cpu", "precision": precision, "measure": False, "output": tmp_path / "made"}
    with pytest.raises(EdgepressError) as caught:
        edgepress.export(source, calibration=quiet(level), **more, **options)
    message = str(caught.value)
    assert "captured graph" in message and "calibration sample" in message and "fault of edgepress" in message
    if not level:
        assert "The first node that makes NaN or Inf of finite values is" in message and "(Log)" in message
    else:
        assert "dB" in message and "On made-up inputs both agree" in message
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", ["module", "file"])
def test_a_graph_that_is_right_says_how_close_it_is(tmp_path: Path, kind: str) -> None:
    source, more = given(kind, Loudness(), EXAMPLE, tmp_path)
    options = {"target": "cpu", "precision": "fp32", "measure": False, "output": tmp_path / "made"}
    bundle = edgepress.export(source, calibration=quiet(0), **more, **options)
    (told,) = (one.claim for one in report(bundle).evidence if HELD in one.claim)
    found = re.search(r"on the first 8 calibration samples: (?:(\d+\.\d) dB|equal to the bit)", told)
    assert found and float(found[1] or "inf") > 90
    assert not [gap for gap in report(bundle).missing if gap.subject.startswith("float32")]


class Amplifier(nn.Module):
    """A sine of what is so large in loud samples that the last bits of float32 decide; in the others it is none."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(3 * self.layer(x))


LOUD = [{"x": 30000 * one["x"]} for one in quiet(0.5)[:2]]


def test_a_model_that_amplifies_rounding_on_real_data_is_warned_of(tmp_path: Path) -> None:
    options = {"target": "cpu", "precision": "fp32", "measure": False, "output": tmp_path / "made"}
    bundle = edgepress.export(Amplifier(), inputs={"x": EXAMPLE}, calibration=LOUD, **options)
    (gap,) = (gap for gap in report(bundle).missing if gap.subject.startswith("float32"))
    assert "on calibration sample" in gap.why and "own answers in float32 and in float64 agree to" in gap.why


@pytest.mark.parametrize("sizes", [{0: "batch"}, {}])
def test_a_file_that_amplifies_rounding_is_held_to_another_order(tmp_path: Path, sizes: dict[int, str]) -> None:
    path = tmp_path / "model.onnx"
    options = {"input_names": ["x"], "dynamo": False, "opset_version": 17, "verbose": False}
    torch.onnx.export(Amplifier(), (EXAMPLE,), path, dynamic_axes={"x": sizes}, **options)
    source = with_example(load_source(str(path)), Recipe(), load_target("cpu"))
    graph = capture(source, 17, tmp_path / "captured.onnx", {})
    origin = Origin.of(source, tmp_path)
    values = Reference().values(graph.path)

    def off(amount: float) -> Predict:
        """As far off as other sums would be, or further."""
        noise = np.random.default_rng(0)
        return lambda feed: {
            n: a + np.float32(amount * noise.standard_normal(a.shape)) for n, a in values(feed).items()
        }

    (gap,) = proven_on_samples(origin, graph, LOUD, off(5e-3)).missing
    assert "on calibration sample" in gap.why and "own answers by another order of the same sums agree to" in gap.why
    with pytest.raises(VerificationError, match="by another order of the same sums agree to"):
        proven_on_samples(origin, graph, LOUD, off(0.5))


def test_data_that_cannot_be_read_are_told_as_before(tmp_path: Path) -> None:
    options = {"target": "cpu", "precision": "fp32", "measure": False, "output": tmp_path / "made"}
    wrong = [{"x": np.zeros((4, 15), np.float32)}]
    with pytest.raises(InputError, match=r"calibration\(\), batch 0: input 'x'"):
        edgepress.export(Loudness(), inputs={"x": EXAMPLE}, calibration=wrong, **options)


class Table(nn.Module):
    """Takes numbers of rows, of which there are ten."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(10, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rows(x.abs())


def test_a_model_that_fails_at_its_own_data_is_told_of_by_its_own_words(tmp_path: Path) -> None:
    options = {"target": "cpu", "precision": "fp32", "measure": False, "output": tmp_path / "made"}
    with pytest.raises(InputError, match="The model itself fails on the calibration data") as caught:
        data = [{"x": np.full((2, 3), 11)}]
        edgepress.export(Table(), inputs={"x": torch.arange(6).reshape(2, 3)}, calibration=data, **options)
    assert "index out of range" in str(caught.value)


class Flattened(nn.Module):
    """NaN where a sample is all the same, beside an output of classes."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
        return y, x.argmax(1)


def test_what_the_model_itself_makes_nan_of_is_said(tmp_path: Path) -> None:
    options = {"target": "cpu", "precision": "fp32", "measure": False, "output": tmp_path / "made"}
    data = [{"x": np.stack([np.zeros(16), np.arange(16)]).astype(np.float32)}]
    bundle = edgepress.export(Flattened(), inputs={"x": EXAMPLE[:2]}, calibration=data, **options)
    (gap,) = (gap for gap in report(bundle).missing if gap.subject.startswith("NaN"))
    assert "(16 values)" in gap.why


def test_statistics_that_do_not_know_the_input_hold_nothing(tmp_path: Path) -> None:
    """What is rounded first is a logarithm of it."""
    source = source_from_object(Loudness(), {"x": EXAMPLE}, calibration=lambda: quiet(0.1))
    found = calibrate(source, load_target("cpu"), Recipe(), {}, lambda samples: None)
    save_statistics(found, tmp_path / "ranges")
    options = {"target": "cpu", "precision": "fp32", "measure": False, "output": tmp_path / "made"}
    bundle = edgepress.export(Loudness(), inputs={"x": EXAMPLE}, statistics=str(tmp_path / "ranges"), **options)
    assert not [one for one in report(bundle).evidence if HELD in one.claim]


class Branch(nn.Module):
    """Takes another way where its inputs are large, which a graph does not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        small = torch.tensor(True) if torch.compiler.is_compiling() else x.mean() < 5
        return y if small else torch.relu(y)


@pytest.mark.parametrize("mean", [0, 50])
def test_values_of_statistics_stand_for_data_that_are_elsewhere(tmp_path: Path, mean: float) -> None:
    """The example's values take the way of the graph, those of the data may not: of data there is no more here."""
    data = [{"x": one["x"] + np.float32(mean)} for one in quiet(0.1)]
    source = source_from_object(Branch(), {"x": EXAMPLE}, calibration=lambda: data)
    save_statistics(calibrate(source, load_target("cpu"), Recipe(), {}, lambda samples: None), tmp_path / "ranges")
    options = {"target": "cpu", "precision": "int8", "measure": False, "output": tmp_path / "made"}
    given = {"inputs": {"x": EXAMPLE}, "statistics": str(tmp_path / "ranges"), **options}
    if mean:
        with pytest.raises(VerificationError, match=r"on made-up sample \d: .* On inputs like the example both agree"):
            edgepress.export(Branch(), **given)
        return
    (told,) = (one.claim for one in report(edgepress.export(Branch(), **given)).evidence if HELD in one.claim)
    assert "on 8 samples made up with values of the statistics" in told


class Neighbours(nn.Module):
    """Takes the sum over edges, and of a graph whose values are large their sines."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 4)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        y = self.layer(torch.zeros_like(nodes).index_add(0, edges[1], nodes[edges[0]]))
        large = torch.tensor(True) if torch.compiler.is_compiling() else nodes.mean() < 5
        return y if large else torch.sin(y)


def test_of_a_graph_the_nodes_are_no_samples_and_the_next_graphs_are_looked_at(tmp_path: Path) -> None:
    """A fault that shows in the second graph shipped: the first one has more nodes than samples are looked at."""
    rng = np.random.default_rng(0)
    data = [
        {
            "nodes": (level + rng.standard_normal((20, 8))).astype(np.float32),
            "edges": rng.integers(0, 10, (2, 50)),
        }
        for level in (0, 10, 0)
    ]
    example = {name: torch.from_numpy(array) for name, array in data[0].items()}
    axes = {"nodes": edgepress.AxisRange(smallest=10, usual=20, largest=40)}
    options = {"target": "cpu", "precision": "fp32", "measure": False, "output": tmp_path / "made", "axes": axes}
    free = {"nodes": {0: "nodes"}, "edges": {1: "links"}}
    with pytest.raises(VerificationError, match="of batch 1 of the calibration data"):
        edgepress.export(Neighbours(), inputs=example, dynamic=free, calibration=data, **options)
    bundle = edgepress.export(Neighbours(), inputs=example, dynamic=free, calibration=data[::2], **options)
    assert "on the first 2 calibration samples" in next(c.claim for c in report(bundle).evidence if HELD in c.claim)
