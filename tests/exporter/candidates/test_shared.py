"""An input that a batch shares is said to show few values, where something rounded is made of it."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgepress.backends.base import SampleAxes
from edgepress.exporter.candidates.doubts.shared import rounded_inputs, shared

RNG = np.random.default_rng(0)


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
        found = shared(feeds, along, samples, {"x", name})
        assert (f"Input {name!r} has 8 values in the first 32 calibration samples" in found.get("shared", "")) == said


def test_inputs_that_vary_by_sample_and_masks_are_not_said_to_be_shared():
    masks = [
        {
            "x": RNG.normal(size=(4, 3)).astype(np.float32),
            "row": (np.arange(6) < n).astype(np.float32)[None].repeat(4, 0),
        }
        for n in (3, 4, 6, 6, 4, 3, 6, 6)
    ]
    assert not shared(masks, BESIDE, 48, {"x", "row"})
    varied = [{"x": feed["x"], "row": RNG.normal(size=(4, 1)).astype(np.float32)} for feed in batches_of(np.arange(8))]
    assert not shared(varied, BESIDE, 48, {"x", "row"})
    assert not shared(
        [{"x": np.ones((1, 3), np.float32) * n, "scale": np.float32(n)} for n in range(8)],
        SampleAxes(inputs={"x": 0}),
        48,
        {"x", "scale"},
    )  # batches of one


def test_an_input_that_nothing_rounded_is_made_of_is_left_out():
    """A temperature behind the last layer: nothing of it is clipped."""
    feeds = [{"x": feed["x"], "scale": feed["scale"]} for feed in batches_of(np.arange(8.0))]
    along = SampleAxes(inputs={"x": 0})
    assert shared(feeds, along, 48, {"x", "scale"}) and not shared(feeds, along, 48, {"x"})
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[4, 3] x, float shift, float scale) => (float[4, 3] y) {
        a = Add(x, shift)
        b = Relu(a)
        y = Mul(b, scale)
    }"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    assert rounded_inputs(model, {"b"}) == {"x", "shift"}
    assert rounded_inputs(model, {"y"}) == {"x", "shift", "scale"}
