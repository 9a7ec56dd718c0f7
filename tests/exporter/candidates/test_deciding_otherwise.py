"""Where a runtime shortens floats that a model decides by, int8 ships with floats as long as its graph has them."""

import numpy as np
import pytest
import torch

import edgepress
from edgepress.backends.openvino import OpenVino
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.candidates.third_link.deciding_otherwise import _shortened


class Nearest(torch.nn.Module):
    """A layer, the code next to its result, and a layer; all codes are as far from it in what is not rounded."""

    def __init__(self, apart):
        super().__init__()
        self.first, self.last, self.apart = torch.nn.Linear(16, 4), torch.nn.Linear(4, 8), apart
        self.codes = torch.nn.Parameter(0.3 * torch.randn(8, 4))

    def forward(self, x):
        apart = (self.first(x)[:, None] - self.codes).square().sum(-1) + self.apart
        return self.last(self.codes[apart.argmin(-1)])


class Positive(torch.nn.Module):
    """What is above 0 has as many digits next to it as int8 needs."""

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(16, 4), torch.nn.Linear(4, 8)

    def forward(self, x):
        y = self.first(x)
        return self.last((y > 0) * y)


def notes(model, directory, monkeypatch):
    """Of an export to a processor that has bf16, about floats in float32."""
    monkeypatch.setattr(OpenVino, "native_float", lambda self, target: "bf16")
    rng = np.random.default_rng(0)
    data = [{"x": rng.uniform(-1, 1, (8, 16)).astype(np.float32)} for _ in range(16)]
    bundle = edgepress.export(
        model.eval(), {"x": torch.rand(2, 16)}, target="cpu", name="nearest", dynamic={"x": {0: "n"}},
        calibration=data, precision="int8", measure=False, output=directory,
    )  # fmt: skip
    found = [note for note in load_report(bundle.path).notes if note.startswith("What is float is computed in float32")]
    return found, (bundle.path / "engine" / "load.py").exists()


def test_what_bf16_decides_otherwise_is_computed_in_float32(tmp_path, monkeypatch):
    """Next to 20 bf16 knows multiples of an eighth: 13 dB on 4,000 samples, where the graph has 27."""
    torch.manual_seed(0)
    (note,), exact = notes(Nearest(20.0), tmp_path, monkeypatch)
    assert exact and "decides otherwise than its own graph, at" in note and "(ArgMin)" in note


@pytest.mark.parametrize("model", [lambda: Nearest(0.0), Positive])
def test_bf16_stays_where_it_decides_as_int8_does(model, tmp_path, monkeypatch):
    torch.manual_seed(0)
    assert notes(model(), tmp_path, monkeypatch) == ([], False)


def test_floats_of_so_many_digits():
    given = np.float32([1, 1 + 2**-7, 1 + 2**-9, -3.00001, 0, np.inf, 1e-30])
    assert np.array_equal(_shortened(given, 8), given.astype(torch_bf16()).astype(np.float32))
    assert np.array_equal(_shortened(given[:5], 11), given[:5].astype(np.float16).astype(np.float32))


def torch_bf16():
    import ml_dtypes

    return ml_dtypes.bfloat16
