"""Calibration samples that show one point of a model are said to be alike."""

import json

import numpy as np
import pytest
import torch

import edgepress
from edgepress.backends.base import SampleAxes
from edgepress.errors import VerificationError
from edgepress.exporter.candidates.doubts.alike import alike, repeated

RNG = np.random.default_rng(0)
ROWS = SampleAxes(inputs={"x": 0}, outputs={"y": 0, "z": 0})


def missing(spread, directory):
    one = RNG.normal(size=16)
    return said([(one + spread * RNG.normal(size=(8, 16))) for _ in range(16)], directory)


def said(batches, directory, bias=True, workers=1):
    torch.manual_seed(0)
    data = [{"input": np.asarray(batch, np.float32)} for batch in batches]
    bundle = edgepress.export(
        torch.nn.Sequential(*(torch.nn.Linear(16, 32, bias), torch.nn.ReLU(), torch.nn.Linear(32, 8, bias))).eval(),
        {"input": torch.randn(2, 16)},
        target="server-cpu",
        dynamic={"input": {0: "n"}},
        calibration=data,
        precision="int8",
        measure=False,
        workers=workers,
        output=directory,
    )
    return {gap["subject"]: gap["why"] for gap in json.loads((bundle.path / "report.json").read_text())["missing"]}


def test_samples_that_hardly_differ_are_said_to(tmp_path):
    assert "all but the same" in missing(1e-3, tmp_path / "alike")["alike"]
    assert "alike" not in missing(1, tmp_path / "varied")


def test_what_cannot_be_told_is_not_said():
    same = np.ones((4, 3), np.float32)
    fed = [{"x": same}, {"x": same}]
    assert alike(fed, [{"y": same}, {"y": same}], ROWS)
    assert not alike(fed, [{"y": same, "z": np.eye(4, dtype=np.float32)}], ROWS)  # one output that varies is enough
    assert not alike(fed, [{"y": np.zeros((4, 3), np.float32)}], ROWS)
    assert not alike(fed, [{"y": np.ones((4, 3), np.int64)}], ROWS)
    assert not alike(fed, [{"y": np.ones((1, 3), np.float32)}], ROWS)


def test_varied_samples_whose_outputs_lie_about_a_large_number_are_not_alike():
    varied = [{"x": RNG.normal(size=(4, 3)).astype(np.float32)} for _ in range(2)]
    assert not alike(varied, [{"y": (300 + each["x"]).astype(np.float32)} for each in varied], ROWS)


def test_the_same_few_samples_again_and_again_are_said_to_be(tmp_path):
    two, zeros = RNG.normal(size=(2, 16)), np.zeros((8, 16))
    assert (
        "2 are different, and the others repeat them" in said([np.tile(two, (4, 1))] * 16, tmp_path / "two")["repeated"]
    )
    # What is looked at first is all there is to see.
    mostly = [*[zeros] * 15, np.concatenate([zeros[:7], two[:1]])]
    assert "1 is different, and the others repeat it" in said(mostly, tmp_path / "zeros")["repeated"]
    assert not repeated([{"x": np.arange(8), "scale": np.float32(1)}], ROWS)


def test_samples_unlike_the_example_are_said_to_be_with_both_figures(tmp_path):
    batches = [0.02 * RNG.normal(size=(8, 16)) + 0.01 for _ in range(16)]
    try:
        found = said(batches, tmp_path)["golden"]
    except VerificationError as error:
        pytest.fail(str(error))
    assert "dB of SQNR on the calibration samples and" in found


def test_data_of_one_kind_are_named_where_int8_is_refused_for_them(tmp_path):
    faint = 1e-3 * np.tile(RNG.normal(size=(2, 16)), (4, 1))
    with pytest.raises(VerificationError, match=r"golden inputs ask for(.|\n)*2 are different"):
        said([faint] * 16, tmp_path, bias=False)


class Pattern(torch.nn.Module):
    """How much of a pattern there is; what stands beside it makes the scale of the integers coarse."""

    def __init__(self):
        super().__init__()
        self.signs = torch.from_numpy(np.sign(np.random.default_rng(3).normal(size=256)).astype(np.float32))
        self.layer = torch.nn.Linear(257, 1, False)
        with torch.no_grad():
            self.layer.weight[:, :256], self.layer.weight[:, 256:] = self.signs, 0

    def forward(self, x, beside):
        return self.layer(torch.cat([x, beside], 1))


@pytest.mark.parametrize("of_the_kind", [True, False])
def test_an_example_like_the_samples_is_not_said_to_be_of_another_kind(of_the_kind, tmp_path):
    """The values of a state go together, and those of one that is made up do not."""
    model, rng = Pattern().eval(), np.random.default_rng(0)

    def feed(rows):
        of_pattern = rng.normal(size=(rows, 1)) * model.signs.numpy() + rng.normal(size=(rows, 256))
        return {"x": of_pattern.astype(np.float32), "beside": rng.uniform(-380, 380, (rows, 1)).astype(np.float32)}

    example = {name: torch.from_numpy(array) for name, array in feed(8).items()}
    if not of_the_kind:
        example["x"] = 1.4 * torch.randn(8, 256)
    bundle = edgepress.export(
        model, example, target="mobile", name="pattern", dynamic={"x": {0: "n"}, "beside": {0: "n"}}, lifts=(),
        ranges="min-max", calibration=[feed(8) for _ in range(16)], precision="int8", measure=False, output=tmp_path,
    )  # fmt: skip
    report = json.loads((bundle.path / "report.json").read_text())
    gaps = [gap["why"] for gap in report["missing"] if gap["subject"] == "golden"]
    notes = [note for note in report["notes"] if "of no kind that the model meets" in note]
    assert (len(gaps), len(notes)) == ((0, 1) if of_the_kind else (1, 0)), (gaps, notes, report["parity"])
