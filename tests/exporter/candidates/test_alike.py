"""Calibration samples that show one point of a model are said to be alike."""

import json

import numpy as np
import pytest
import torch

import edgepress
from edgepress.backends.base import SampleAxes
from edgepress.errors import VerificationError
from edgepress.exporter.candidates.alike import alike, repeated, shared

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


def batches_of(scales, rows=4):
    """Pictures beside a number that a batch shares, once as one value and once repeated for each."""
    pictures = RNG.normal(size=(len(scales), rows, 3)).astype(np.float32)
    return [
        {"x": x, "scale": np.float32([scale]), "row": np.full((rows, 1), scale, np.float32)}
        for x, scale in zip(pictures, scales, strict=True)
    ]


BESIDE = SampleAxes(inputs={"x": 0, "row": 0}, outputs={"y": 0})


@pytest.mark.parametrize(
    ("scales", "samples", "said"),
    [
        (np.arange(8.0), 48, True),
        (np.arange(8.0), 390, True),
        (np.arange(8.0), 400, False),  # 100 batches, and as many values
        (np.full(8, 0.5), 48, False),  # never varies
        (np.tile([0.1, 0.2], 4), 48, False),  # two modes, each of which came again
        (np.tile([0.1, 0.2, 0.3, 0.4], 2), 48, False),
    ],
)
def test_an_input_of_which_a_batch_shares_one_value_is_said_to_show_few(scales, samples, said):
    for name, along in (("scale", SampleAxes(inputs={"x": 0, "row": 0})), ("row", BESIDE)):
        feeds = [{"x": feed["x"], name: feed[name]} for feed in batches_of(scales)]
        found = shared(feeds, along, samples)
        assert (f"Input {name!r} has 8 values in the first 32 calibration samples" in found.get("shared", "")) == said


def test_inputs_that_vary_by_sample_and_masks_are_not_said_to_be_shared():
    masks = [
        {
            "x": RNG.normal(size=(4, 3)).astype(np.float32),
            "row": (np.arange(6) < n).astype(np.float32)[None].repeat(4, 0),
        }
        for n in (3, 4, 6, 6, 4, 3, 6, 6)
    ]
    assert not shared(masks, BESIDE, 48)
    varied = [{"x": feed["x"], "row": RNG.normal(size=(4, 1)).astype(np.float32)} for feed in batches_of(np.arange(8))]
    assert not shared(varied, BESIDE, 48)
    assert not shared(
        [{"x": np.ones((1, 3), np.float32) * n, "scale": np.float32(n)} for n in range(8)], ROWS, 48
    )  # batches of one
