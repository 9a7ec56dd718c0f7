"""What is decided by rounded values costs much where it is decided otherwise, which few samples show."""

import numpy as np
import onnxruntime
import pytest
import torch

import edgepress
from edgepress.exporter.bundle.reportables import load_report


class Decides(torch.nn.Module):
    """A layer, what is made of its result, and a layer."""

    def __init__(self, made):
        super().__init__()
        self.first, self.last, self.made = torch.nn.Linear(16, 4), torch.nn.Linear(4, 8), made

    def forward(self, x):
        return self.last(self.made(self.first(x)))


def exported(module, directory, seed=0):
    """What is said of decisions, what the samples have, and what the graph has on fresh ones, in dB."""
    torch.manual_seed(0)
    model, rng = module(), np.random.default_rng(seed)
    data = [{"x": rng.uniform(-1, 1, (8, 16)).astype(np.float32)} for _ in range(40)]
    bundle = edgepress.export(
        model.eval(), {"x": torch.rand(2, 16)}, target="mobile", name="decides", dynamic={"x": {0: "n"}},
        calibration=data, precision="int8", measure=False, output=directory,
    )  # fmt: skip
    report = load_report(bundle.path)
    said = [gap.why for gap in report.missing if gap.subject == "decided"]
    fresh = rng.uniform(-1, 1, (4000, 16)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(bundle.path / "model.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": fresh})[0]
    with torch.no_grad():
        right = model(torch.from_numpy(fresh))
        right = (right[0] if isinstance(right, tuple) else right).numpy()
    return said, 10 * np.log10(np.square(right).sum() / np.square(found - right).sum())


@pytest.mark.parametrize("made", [torch.sign, lambda x: (x > 0.1) * 1.0])
def test_decisions_that_few_samples_show_are_said_with_what_is_to_be_expected(made, tmp_path):
    (why,), fresh_db = exported(lambda: Decides(made), tmp_path)
    expected_db = float(why.split("and about ")[1].split(" dB")[0])
    assert "Leave the layers before it in float" in why
    assert expected_db == pytest.approx(fresh_db, abs=4)


@pytest.mark.parametrize(
    "made",
    [
        lambda x: torch.where(x > 0, x, 0.1 * x),  # nothing jumps at the bound
        lambda x: x * (x.detach() > -100),  # nothing lies near it
    ],
)
def test_what_goes_on_evenly_over_a_bound_is_not_said(made, tmp_path):
    said, fresh_db = exported(lambda: Decides(made), tmp_path)
    assert not said and fresh_db > 30


class Segments(Decides):
    """Classes come out, each of which is one decision of many."""

    def forward(self, x):
        return self.last(torch.relu(self.first(x))), self.first(x).argmax(-1)


def test_classes_that_come_out_are_no_decision_inside(tmp_path):
    said, _ = exported(lambda: Segments(torch.relu), tmp_path)
    assert not said


@pytest.mark.parametrize(
    "made",
    [
        lambda x: x * (x.mean() > 0),  # one number decides for all samples
        lambda x: torch.tensor([0.3, -1.0, 2.0, 0.5])[torch.clamp(x, -1.4, 1.4).round().long() + 1],
    ],
)
def test_whatever_is_decided_is_exported(made, tmp_path):
    """What noise decides may be a place beyond the end of a table."""
    said, fresh_db = exported(lambda: Decides(made), tmp_path)
    assert said or fresh_db > 30
