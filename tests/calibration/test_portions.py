"""A batch is cut where its observed tensors would be large, and the statistics do not tell."""

import numpy as np
import pytest
import torch

from edgepress.backends.base import SampleAxes, TensorSpec
from edgepress.backends.places import Reference
from edgepress.calibration import runner
from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import feeds_from_object
from edgepress.calibration.portions import Portions
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.samples_apart import with_samples
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.device.target import load_target

IMAGE = TensorSpec(name="x", dtype="float32", shape=("batch", 3, 4))
ROWS = SampleAxes(inputs={"x": 0})


def cut_at_each_sample(monkeypatch):
    monkeypatch.setattr(runner, "Portions", lambda inputs, samples, shapes, _: Portions(inputs, samples, shapes, 1))


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
    cut_at_each_sample(monkeypatch)
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


def test_a_long_recording_is_counted_whole(tmp_path, monkeypatch):
    """Steps of time first, whose axis is free: a filter saw zeros where the recording was cut."""

    class Filter(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Conv1d(8, 16, 9, padding=4), torch.nn.Conv1d(16, 4, 9, padding=4)

        def forward(self, x):
            return self.last(torch.relu(self.first(x.T[None])))[0].T

    torch.manual_seed(0)
    source = source_from_object(Filter().eval(), {"x": torch.rand(32, 8)}, dynamic={"x": {0: "steps"}})
    graph = capture(source, 20, tmp_path / "model.onnx", source.ranges)
    with Reference().values(graph.path) as run:
        graph = with_samples(graph, source, 0, run)
    observed = Quantizer.of(graph, load_target("server-cpu").scheme).placement.observed()
    feeds = feeds_from_object([{"x": 1 + torch.rand(64, 8).numpy()} for _ in range(4)])
    whole = collect(graph, observed, feeds)
    cut_at_each_sample(monkeypatch)
    cut = collect(graph, observed, feeds)
    assert whole.samples == cut.samples == 4
    assert all(np.array_equal(cut.tensors[name].histogram, state.histogram) for name, state in whole.tensors.items())
