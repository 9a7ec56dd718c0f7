"""Torch's fast path of a transformer encoder, which drops the padding: told from a graph that is wrong."""

import pytest
import torch

from edgepress.errors import VerificationError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import source_from_object


class Padded(torch.nn.Module):
    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder, self.masked = torch.nn.TransformerEncoder(layer, 2), masked

    def forward(self, x: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        y = self.encoder(x, src_key_padding_mask=padding)
        return y * ~padding[..., None] if self.masked else y


def source(*, masked: bool):
    torch.manual_seed(0)
    inputs = {"x": torch.randn(2, 6, 16), "padding": torch.arange(6)[None] >= torch.tensor([[6], [4]])}
    return source_from_object(Padded(masked=masked).eval(), inputs, name="padded")


def test_an_encoder_whose_padding_is_dropped_is_captured(tmp_path):
    (found,) = prove_capture(given := source(masked=True), capture(given, 17, tmp_path / "model.onnx", {}), 0).values()
    assert found.sqnr_db > 100


def test_zeros_that_only_eval_writes_at_the_padding_are_told_with_the_way_out(tmp_path):
    given = source(masked=False)
    graph = capture(given, 17, tmp_path / "model.onnx", {})
    with pytest.raises(VerificationError, match="differs from the model's") as caught:
        prove_capture(given, graph, seed=0)
    assert "enable_nested_tensor=False" in caught.value.hint
    with torch.no_grad():
        given.module.encoder.layers[0].linear1.bias += 0.5
    with pytest.raises(VerificationError, match="differs from the model's") as caught:
        prove_capture(given, graph, seed=0)  # another weight is no padding
    assert "randomness" in caught.value.hint
