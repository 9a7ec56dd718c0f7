import os

# Two cores are shared by several workers; oversubscribed thread pools would make every test slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES


@pytest.fixture(scope="session")
def residual_source():
    """A small residual network with every structure that placement must tell apart."""
    import torch
    from edgepress.exporter.sources import source_from_object
    from torch import nn

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(2))
            self.first = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
            self.second = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, stride=2), nn.BatchNorm2d(16))
            self.shortcut = nn.Conv2d(8, 16, 1, stride=2)
            self.head = nn.Linear(16, 5)

        def forward(self, image):
            x = self.stem(image)
            x = torch.relu(self.first(x) + x)
            x = torch.relu(self.second(x) + self.shortcut(x))
            return self.head(x.mean((2, 3)))

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    batches = [{"image": rng.normal(size=(4, 3, 16, 16)).astype(np.float32)} for _ in range(4)]
    return source_from_object(
        Residual().eval(),
        {"image": torch.randn(2, 3, 16, 16)},
        name="residual",
        dynamic={"image": {0: "batch"}},
        calibration=lambda: iter(batches),
    )


@pytest.fixture(scope="session")
def residual_graph(residual_source, tmp_path_factory):
    """The captured FP32 graph of that network, opset 20."""
    from edgepress.backends.base import AxisRange
    from edgepress.exporter.stages.capture import capture

    path = tmp_path_factory.mktemp("residual") / "model.onnx"
    return capture(residual_source, 20, path, {"batch": AxisRange(smallest=1, usual=2, largest=32)})
