"""What torch's exporter writes down at multiples alone is told of, and sizes that a model itself refuses are not."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

import edgepress
from edgepress.backends.base import AxisRange
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.capture import stage


class Shuffled(nn.Module):
    """Windows of three from windows of two, rounded up: a pool has one more or fewer at every other size."""

    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(2, 3, 1, ceil_mode=True)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        x = self.pool(self.conv(x))
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def made(model, directory, **how):
    torch.manual_seed(0)
    bundle = edgepress.export(
        model.eval(),
        {"x": torch.rand(2, 4, 12, 16)},
        target="server-cpu",
        name="net",
        dynamic={"x": {0: "batch", 3: "width"}},
        precision="fp32",
        axes={"width": AxisRange(smallest=16, usual=16, largest=48)},
        output=directory,
        measure=False,
        **how,
    )
    return bundle, [gap.why for gap in load_report(bundle.path).missing if gap.subject == "sizes"]


class ShuffledByTorch(Shuffled):
    """The same by an operator for which the tracing exporter has no form."""

    def __init__(self):
        super().__init__()
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x):
        return self.shuffle(self.pool(self.conv(x)))


@pytest.mark.parametrize("kind", [Shuffled, ShuffledByTorch])
def test_another_exporter_writes_down_what_the_first_did_not(kind, tmp_path):
    """Its graph asked for six columns of seven at 18, and was proven at 16 and 32."""
    model = kind()
    bundle, told = made(model, tmp_path)
    assert told == []
    session = ort.InferenceSession(bundle.path / "engine" / "model.onnx", providers=["CPUExecutionProvider"])
    for width in (16, 17, 18, 24, 40, 48):
        x = torch.rand(3, 4, 12, width)
        np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], model(x).detach().numpy(), atol=1e-5)


def test_where_no_exporter_does_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "may_trace", lambda source, opset: False)
    _, told = made(Shuffled(), tmp_path)
    (why,) = told
    assert "width=18" in why and "fails, where the model does not" in why and "--axis width=N:N:N" in why


def test_sizes_that_the_model_refuses_are_not_told_of(tmp_path):
    class Halved(Shuffled):
        def forward(self, x):
            return self.conv(x) * x.unflatten(3, (2, x.shape[3] // 2)).flatten(3)

    assert made(Halved(), tmp_path)[1] == []
