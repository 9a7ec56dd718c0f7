"""How the ranges of feature maps are found is judged on data that they were not fitted to."""

import re

import numpy as np
import onnxruntime
import pytest
import torch

import edgepress
from edgepress.backends.base import Graph
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.quantization import gains
from edgepress.exporter.quantization.judging import JudgingSamples
from edgepress.exporter.quantization.quantizer import FEATURE_MAPS
from edgepress.exporter.quantization.trial import GraphTrial
from edgepress.profiles.device.target import load_target

from ._held_out import ROWS


class LargestOverTime(torch.nn.Module):
    """What comes out are the largest values of feature maps, which least squares clips."""

    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv1d(4, 16, 3), torch.nn.ReLU(), torch.nn.Conv1d(16, 16, 3), torch.nn.ReLU()
        )
        self.head = torch.nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.features(x).amax(-1))


def of_feature_maps(model, data, directory, ranges="auto", calibrated=48):
    """What the report says of the ranges, and the SQNR of the graph on other data of the kind."""
    bundle = edgepress.export(
        model, {"x": torch.rand(2, 4, 32)}, target="mobile", name="maps", dynamic={"x": {0: "n"}},
        calibration=data[:calibrated], precision="int8", lifts=(), ranges=ranges, measure=False, output=directory,
    )  # fmt: skip
    said = next(note for note in load_report(bundle.path).notes if note.startswith("int8 without lifts"))
    session = onnxruntime.InferenceSession(str(bundle.path / "model.onnx"), providers=["CPUExecutionProvider"])
    right, got = [], []
    for feed in data[48:]:
        right.append(model(torch.from_numpy(feed["x"])).detach().numpy())
        got.append(session.run(None, feed)[0])
    error = sum(float(((a - b) ** 2).sum()) for a, b in zip(right, got, strict=True))
    return said, 10 * np.log10(sum(float((a**2).sum()) for a in right) / error)


def mostly(often, batches=64):
    """Rows that hold one value, but for a tenth of the places."""
    rng = np.random.default_rng(1)
    fresh = [(rng.random((8, 1, 32)) < 0.1, 2 * rng.laplace(size=(8, 4, 32))) for _ in range(batches)]
    return [{"x": np.where(other, seen, often).astype(np.float32)} for other, seen in fresh]


def test_feature_maps_take_the_range_method_that_samples_bear(tmp_path):
    """Where most of a map is one value, how near a multiple of the scale that lies decides more than clipping."""
    torch.manual_seed(1)
    model, data = LargestOverTime().eval(), mostly(1.3)
    said, tried_db = of_feature_maps(model, data, tmp_path / "auto")
    _, squares_db = of_feature_maps(model, data, tmp_path / "mse", ranges="mse")
    assert re.search(r"with min-max for feature maps, [\d.]+ dB with mse\.$", said)
    assert tried_db > squares_db + 3  # 38.4 and 32.6


def test_least_squares_stay_where_samples_do_not_tell_better(tmp_path):
    torch.manual_seed(1)
    model, data = LargestOverTime().eval(), mostly(0.37)
    said, _ = of_feature_maps(model, data, tmp_path / "all")
    assert re.search(r"with mse for feature maps, [\d.]+ dB with min-max\.$", said)  # 37.6 and 37.3
    few, _ = of_feature_maps(model, data, tmp_path / "few", calibrated=5)
    assert "feature maps" not in few  # they would be judged on what they were fitted to


@pytest.mark.parametrize(
    ("others_db", "shipped_db", "taken", "said"),
    [
        ((30, 32), (33, 34), "min-max", "with min-max for feature maps, 30.0 dB with mse"),
        ((30, 30.4), (33, 34), "mse", "with mse for feature maps, 30.4 dB with min-max"),
        ((30, 32), (33, 33.4), "mse", "32.0 dB with min-max, which is not better with the ranges that ship"),
    ],
)
def test_why_the_worse_figure_is_taken_is_said(others_db, shipped_db, taken, said, tmp_path):
    """Each trial is one batch that was answered, with noise of so many dB."""
    right = np.random.default_rng(0).choice([-1.0, 1.0], (8, 4)).astype(np.float32)
    samples = JudgingSamples(
        feeds=[{"x": right}], kind="samples", expected=[{"y": right}], along=ROWS, by_sample=ROWS.outputs
    )
    figures = {"others": dict(zip(FEATURE_MAPS, others_db, strict=True))}
    figures["shipped"] = dict(zip(FEATURE_MAPS, shipped_db, strict=True))

    def trial(method, statistics):
        directory = tmp_path / f"{method} {statistics}"
        directory.mkdir()
        graph = Graph(path=directory / "model.onnx", inputs=(), outputs=(), opset=17, digest="")
        answers = [{"y": right * np.float32(1 - 10 ** (-figures[statistics][method] / 20))}]
        made = {"samples": samples, "method": method, "lifts": (), "notes": {}, "_answers": answers}
        return GraphTrial(graph=graph, target=load_target("mobile"), **made)

    kept, told = gains._ranged(trial, "others", "shipped")
    assert kept.method == taken and told.endswith(said)
    assert told.startswith(f"{figures['others'][taken]:.1f} dB of SQNR on 8 samples with {taken}")


def test_of_a_network_without_feature_maps_nothing_is_tried(tmp_path):
    """The same graph ran twice, and was called another."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 16, False), torch.nn.GELU(), torch.nn.Linear(16, 4, False)).eval()
    data = [{"input": torch.randn(16, 5, 16).numpy()} for _ in range(8)]
    bundle = edgepress.export(
        model, {"input": torch.rand(2, 5, 16)}, target="mobile", name="tokens", dynamic={"input": {0: "n"}},
        calibration=data, precision="int8", measure=False, output=tmp_path,
    )  # fmt: skip
    said = next(note for note in load_report(bundle.path).notes if note.startswith("int8 without lifts"))
    assert said.endswith(" dB of SQNR on 32 calibration samples.")
