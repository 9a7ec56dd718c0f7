"""A model that amplifies rounding is held to what its own float32 leaves, and to nothing less."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgepress.errors import VerificationError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.float32_margin import float32_margin
from edgepress.exporter.capture.own_rounding import amplified, explains, own_rounding
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import Source, source_from_object, torch_predict
from edgepress.profiles.findings.parity import Parity


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


def test_a_graph_with_little_for_float32_says_so_and_why(tmp_path: Path) -> None:
    """levit_128s with random weights: 50 dB on made-up inputs, 20 on others, and not a word of it."""
    told = {}
    for factor in (1, 150):
        source = amplifier(factor)
        graph = capture(source, 17, tmp_path / f"{factor}.onnx", {})
        told[factor] = float32_margin(source, graph, prove_capture(source, graph, seed=0), 0)
    assert told[1] == ()
    (gap,) = told[150]
    assert gap.subject == "float32 output" and "On other inputs it may be much less" in gap.why
    assert "amplifies rounding: its own answers in float32 and in float64 agree to" in gap.why


def test_another_weight_is_still_seen(tmp_path: Path) -> None:
    source = amplifier(150)
    graph = capture(source, 17, tmp_path / "model.onnx", {})
    with torch.no_grad():
        source.module.second.bias += 1e-3
    with pytest.raises(VerificationError, match="differs from the model's") as caught:
        prove_capture(source, graph, seed=0)
    assert "randomness" in str(caught.value) and "amplifies" not in str(caught.value)


def test_what_float32_hardly_holds_is_refused(tmp_path: Path) -> None:
    source = amplifier(600)
    graph = capture(source, 17, tmp_path / "model.onnx", {})
    with pytest.raises(VerificationError, match=r"amplifies the rounding of float32: .* agree to 4\d\.\d dB") as caught:
        prove_capture(source, graph, seed=0)
    assert "trained weights" in str(caught.value) and "randomness" not in str(caught.value)


class Noisy(torch.nn.Linear):
    """Randomness in forward, some 55 dB below the signal, which looks like rounding beside a run in float64."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y + 1.3e-3 * torch.randn_like(y)


def test_randomness_in_forward_is_no_rounding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = source_from_object(Noisy(16, 64).eval(), {"x": 3 * torch.rand(4, 16)}, name="noisy")
    graph = capture(source, 17, tmp_path / "model.onnx", {})
    with pytest.raises(VerificationError, match="randomness"):
        prove_capture(source, graph, seed=0)


def test_of_a_module_that_does_not_repeat_itself_nothing_is_known() -> None:
    source = source_from_object(Noisy(16, 64).eval(), {"x": torch.rand(4, 16)}, name="other")
    assert own_rounding(source, [source.inputs], [torch_predict(source)(source.inputs)]) == {}


def test_a_graph_whose_rows_point_elsewhere_is_not_explained() -> None:
    own = Parity(sqnr_db=60.0, max_abs=1e-3, cosine=1.0, argmax=1.0)
    assert explains(own, own)
    assert not explains(own, replace(own, cosine=0.53))


def test_which_refusals_are_by_rounding_that_the_model_amplifies() -> None:
    def of(db: float, largest: float = 1.0) -> Parity:
        return Parity(sqnr_db=db, max_abs=largest, cosine=1.0, argmax=1.0)

    assert amplified(of(39), of(14)) and amplified(of(55), of(48))
    assert not amplified(of(65), of(14))  # much further than its rounding
    assert not amplified(of(65), of(60, 100.0))  # a few values, by more than it explains


def test_a_module_that_names_its_type_says_nothing(tmp_path: Path) -> None:
    class Typed(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.float())

    found = {}
    for kind in (Typed, torch.nn.Linear):
        source = source_from_object(kind(4, 4).eval(), {"x": torch.rand(1, 4)}, name="typed")
        found[kind] = own_rounding(source, [source.inputs], [torch_predict(source)(source.inputs)])
    assert found[Typed] == {}
    assert found[torch.nn.Linear]["output"].sqnr_db > 100
