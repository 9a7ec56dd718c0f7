"""A batch is cut where its observed tensors would be large, and the statistics do not tell."""

import numpy as np
import pytest

from edgepress.backends.base import SampleAxes, TensorSpec
from edgepress.calibration import portions
from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import feeds_from_object
from edgepress.calibration.portions import Portions
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.profiles.device.target import load_target

IMAGE = TensorSpec(name="x", dtype="float32", shape=("batch", 3, 4))
ROWS = SampleAxes(inputs={"x": 0})


def lengths(cut, feed):
    return [len(part["x"]) for part in cut.of(feed)]


def test_a_batch_is_cut_into_equal_portions_below_the_limit():
    cut = Portions([IMAGE], ROWS, [("batch", 100)], limit=4 * 100 * 6)
    assert lengths(cut, {"x": np.zeros((6, 3, 4), np.float32)}) == [6]
    assert lengths(cut, {"x": np.zeros((16, 3, 4), np.float32)}) == [6, 6, 4]
    assert lengths(cut, {"x": np.zeros((1, 3, 4), np.float32)}) == [1]


def test_a_sample_above_the_limit_still_goes_through():
    assert lengths(Portions([IMAGE], ROWS, [("batch", 10**9)]), {"x": np.zeros((3, 3, 4), np.float32)}) == [1, 1, 1]


def test_free_axes_other_than_the_batch_count():
    tokens = TensorSpec(name="x", dtype="int64", shape=("batch", "length"))
    cut = Portions([tokens], ROWS, [("batch", "length", "length")], limit=4 * 8 * 8)
    assert lengths(cut, {"x": np.zeros((4, 8), np.int64)}) == [1, 1, 1, 1]
    assert lengths(cut, {"x": np.zeros((4, 4), np.int64)}) == [4]


def test_a_fixed_batch_is_never_cut():
    fixed = TensorSpec(name="x", dtype="float32", shape=(8, 3, 4))
    assert lengths(Portions([fixed], ROWS, [(8, 10**6)], limit=4), {"x": np.zeros((8, 3, 4), np.float32)}) == [8]


def test_what_is_one_sample_is_never_cut():
    """Steps of time, whose first axis is free as that of a batch is: what was behind a cut saw nothing before it."""
    whole = {"x": np.zeros((16, 3, 4), np.float32)}
    assert lengths(Portions([IMAGE], SampleAxes(), [("batch", 100)], limit=4 * 100 * 6), whole) == [16]
    time_first = Portions(
        [TensorSpec(name="x", dtype="float32", shape=("t", "n", 4))],
        SampleAxes(inputs={"x": 1}),
        [("t", "n")],
        limit=4 * 16,
    )
    assert [part["x"].shape for part in time_first.of({"x": np.zeros((16, 3, 4), np.float32)})] == [(16, 1, 4)] * 3


@pytest.mark.parametrize("batch", [1, 5, 24])
def test_sums_and_digest_do_not_depend_on_the_batch_size(digits, batch, monkeypatch):
    graph, images = digits
    observed = Quantizer.of(graph, load_target("server-cpu").scheme).placement.observed()
    monkeypatch.setattr(portions.Portions.__init__, "__defaults__", (1 << 16,))  # a portion of one sample
    together = collect(graph, observed, feeds_from_object([{"image": images}]))
    apart = collect(
        graph,
        observed,
        feeds_from_object([{"image": images[i : i + batch]} for i in range(0, len(images), batch)]),
    )
    assert apart.data == together.data and apart.samples == together.samples == len(images)
    for name, state in together.tensors.items():
        other = apart.tensors[name]
        assert np.array_equal(other.histogram, state.histogram), name
        assert (other.minimum, other.maximum, other.count) == (state.minimum, state.maximum, state.count)
        if state.channels is not None:
            assert np.array_equal(other.channels.total, state.channels.total), name


@pytest.fixture(scope="module")
def digits(examples, tmp_path_factory):
    from edgepress.exporter.capture.capture import capture
    from edgepress.exporter.sources import load_source

    source = load_source(str(examples / "digits.py"))
    path = tmp_path_factory.mktemp("digits") / "model.onnx"
    capture(source, 17, path, {})
    images = np.random.default_rng(0).normal(size=(24, *source.inputs["image"].shape[1:])).astype(np.float32)
    return read_graph(path, {}), images
