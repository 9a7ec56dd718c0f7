"""Tables whose columns are of other sizes: int8 is not refused for made-up values that no data have, nor trusted."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from edgepress import InputError, export


class Table(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(16, 32), torch.nn.Linear(32, 4)
        self.first.weight.data[:, 15] /= 500

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu())


def rows(kind: str, seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "one class":
        return (4 * np.eye(16)[0] + 0.05 * rng.standard_normal((count, 16))).astype(np.float32)
    return (rng.standard_normal((count, 16)) * np.where(np.arange(16) == 15, 500, 1)).astype(np.float32)


@pytest.mark.parametrize("kind", ["units", "one class"])
def test_int8_of_columns_of_other_sizes(tmp_path, kind):
    data = [{"x": rows(kind, seed, 8)} for seed in range(16)]
    bundle = export(
        Table().eval(), {"x": torch.from_numpy(rows(kind, 99, 2))}, target="server-cpu", precision="int8",
        calibration=data, dynamic={"x": {0: "batch"}}, output=tmp_path, measure=False,
    )  # fmt: skip
    held = rows(kind, 77, 64)
    session = onnxruntime.InferenceSession(bundle.path / "engine" / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        right = Table()(torch.from_numpy(held)).numpy()
    error = session.run(None, {"x": held})[0] - right
    assert 10 * np.log10(np.sum(right**2) / np.sum(error**2)) > 15
    told = [gap["why"] for gap in json.loads((bundle.path / "report.json").read_text())["missing"]]
    assert any("where those that are small in the data are as large as the others" in why for why in told)


def test_a_layer_that_no_one_scale_suits_is_no_int8(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Conv2d(3, 8, 3, padding=1).eval()
    model.weight.data *= torch.logspace(-3, 3, 8)[:, None, None, None]
    model.bias.data *= torch.logspace(-3, 3, 8)
    data = [{"input": np.random.default_rng(i).standard_normal((4, 3, 8, 8)).astype(np.float32)} for i in range(16)]
    how = {
        "target": "server-cpu",
        "calibration": data,
        "dynamic": {"input": {0: "batch"}},
        "output": tmp_path,
        "measure": False,
    }
    with pytest.raises(InputError, match="can be int8: the channels of its result differ so much"):
        export(model, {"input": torch.randn(2, 3, 8, 8)}, precision="int8", **how)
    bundle = export(model, {"input": torch.randn(2, 3, 8, 8)}, **how)
    assert bundle.manifest.engine.precision == "fp32"
