"""Calibration samples that show one point of a model are said to be alike."""

import json

import numpy as np
import torch

import edgepress
from edgepress.exporter.candidates.alike import alike

RNG = np.random.default_rng(0)


def missing(spread, directory):
    torch.manual_seed(0)
    one = RNG.normal(size=16)
    data = [{"input": (one + spread * RNG.normal(size=(8, 16))).astype(np.float32)} for _ in range(16)]
    bundle = edgepress.export(
        torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8)).eval(),
        {"input": torch.randn(2, 16)},
        target="server-cpu",
        dynamic={"input": {0: "n"}},
        calibration=data,
        precision="int8",
        measure=False,
        output=directory,
    )
    return {gap["subject"]: gap["why"] for gap in json.loads((bundle.path / "report.json").read_text())["missing"]}


def test_samples_that_hardly_differ_are_said_to(tmp_path):
    assert "all but the same" in missing(1e-3, tmp_path / "alike")["alike"]
    assert "alike" not in missing(1, tmp_path / "varied")


def test_what_cannot_be_told_is_not_said():
    same = np.ones((4, 3), np.float32)
    fed = [{"x": same}, {"x": same}]
    assert alike(fed, [{"y": same}, {"y": same}])
    assert not alike(fed, [{"y": same, "z": np.eye(4, dtype=np.float32)}])  # one output that varies is enough
    assert not alike(fed, [{"y": np.zeros((4, 3), np.float32)}])
    assert not alike(fed, [{"y": np.ones((4, 3), np.int64)}])
    assert not alike(fed, [{"y": np.ones((1, 3), np.float32)}])


def test_varied_samples_whose_outputs_lie_about_a_large_number_are_not_alike():
    varied = [{"x": RNG.normal(size=(4, 3)).astype(np.float32)} for _ in range(2)]
    assert not alike(varied, [{"y": (300 + each["x"]).astype(np.float32)} for each in varied])
