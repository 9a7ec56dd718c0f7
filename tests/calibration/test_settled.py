"""Calibration may stop when more samples would not change what the ranges cost."""

import numpy as np

from edgepress.backends.base import SampleAxes
from edgepress.calibration.affine import affine
from edgepress.calibration.collect import FIRST, Collector
from edgepress.calibration.ranges.distribution import find_range
from edgepress.calibration.settled import Settled
from edgepress.profiles.device.target import load_target

GRID = load_target("server-cpu").scheme.activation


def samples_read(batches):
    """How many samples pass before it settles; all of them if it never does."""

    def ranges(tensors):
        return {name: affine(*find_range([state], "mse", GRID), GRID) for name, state in tensors.items()}

    collector, settled, asked_next = Collector({"x": None}, SampleAxes(inputs={"x": 0})), Settled(ranges, GRID), FIRST
    for batch in batches:
        collector.add({"x": batch}, {})
        if collector.samples >= asked_next:
            asked_next = 2 * collector.samples
            if settled(collector.collected()):
                break
    return collector.samples


def normal(scales):
    rng = np.random.default_rng(0)
    return [(scale * rng.normal(size=(16, 500))).astype(np.float32) for scale in scales]


def test_samples_of_one_distribution_are_enough_soon():
    assert samples_read(normal(np.ones(100))) == 256


def test_samples_that_grow_are_all_read():
    assert samples_read(normal(np.linspace(1, 20, 100))) == 1600


def test_a_late_outlier_batch_starts_it_anew():
    scales = np.ones(100)
    scales[12] = 20  # within the second 128 samples
    assert 512 <= samples_read(normal(scales)) < 1600


def test_an_all_zero_tensor_settles():
    assert samples_read([np.zeros((16, 4), np.float32)] * 40) == 256
