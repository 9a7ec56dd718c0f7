"""A model that amplifies rounding is held to what its own float32 leaves, and to nothing less."""

from pathlib import Path

import pytest
import torch

from edgepress.errors import VerificationError
from edgepress.exporter.capture.capture import capture, prove_capture
from edgepress.exporter.capture.own_rounding import own_rounding
from edgepress.exporter.sources import Source, source_from_object


class Amplifier(torch.nn.Module):
    """Two sines of sums that are so much larger than a period that the last bits of float32 decide a percent."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.first, self.second, self.factor = torch.nn.Linear(256, 256), torch.nn.Linear(256, 8), factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.factor * self.second(torch.sin(self.factor * self.first(x))))


def amplifier(factor: float) -> Source:
    torch.manual_seed(0)
    return source_from_object(Amplifier(factor).eval(), {"x": torch.rand(4, 256)}, name="amplifier")


def test_rounding_that_the_model_itself_amplifies_is_none_of_the_graphs(tmp_path: Path) -> None:
    source = amplifier(150)
    graph = capture(source, 17, tmp_path / "model.onnx", {})
    (found,) = prove_capture(source, graph, seed=0).values()
    assert found.sqnr_db > 50 and found.max_abs > 1e-3  # more than is allowed of others


def test_another_weight_is_still_seen(tmp_path: Path) -> None:
    source = amplifier(150)
    graph = capture(source, 17, tmp_path / "model.onnx", {})
    with torch.no_grad():
        source.module.second.bias += 1e-3
    with pytest.raises(VerificationError, match="differs from the model's"):
        prove_capture(source, graph, seed=0)


def test_what_float32_hardly_holds_is_refused(tmp_path: Path) -> None:
    source = amplifier(600)
    graph = capture(source, 17, tmp_path / "model.onnx", {})
    with pytest.raises(VerificationError, match="differs from the model's"):
        prove_capture(source, graph, seed=0)


def test_a_module_that_names_its_type_says_nothing(tmp_path: Path) -> None:
    class Typed(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.float())

    source = source_from_object(Typed(4, 4).eval(), {"x": torch.rand(1, 4)}, name="typed")
    assert own_rounding(source, [source.inputs], [{}]) == {}
