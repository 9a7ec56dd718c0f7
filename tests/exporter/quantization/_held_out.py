"""A network of two layers, data of any width for it, and what its report says."""

import numpy as np
import torch

import edgepress
from edgepress.backends.base import SampleAxes
from edgepress.exporter.bundle.reportables import load_report

ROWS = SampleAxes(inputs={"x": 0}, outputs={"y": 0})


class Layers(torch.nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.first, self.last = torch.nn.Linear(16, 32, bias), torch.nn.Linear(32, 4, bias)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


def exported(data, directory, bias=True, **more):
    torch.manual_seed(0)
    return load_report(
        edgepress.export(
            Layers(bias).eval(),
            {"x": torch.rand(2, 16)},
            target="mobile",  # whose integers are the same on every processor
            name="layers",
            dynamic={"x": {0: "n"}},
            calibration=data,
            precision="int8",
            measure=False,
            output=directory,
            **more,
        ).path
    )


def batches(scales, rows=8):
    rng = np.random.default_rng(0)
    return [{"x": (scale * rng.uniform(-1, 1, (rows, 16))).astype(np.float32)} for scale in scales]


def said(report, subject):
    return [gap.why for gap in report.missing if gap.subject == subject]
