"""Plans of grids, against every combination there is."""

from itertools import product

import numpy as np
import pytest

from edgepress.exporter.language.plan import GridOption, hull, least_loss, plans, within_bytes, within_loss

from ._tiny import grid

FOUR, EIGHT = grid(32), grid(64, bits=8)


def random_options(seed, matrices=6):
    rng = np.random.default_rng(seed)
    found = {}
    for index in range(matrices):
        size, loss = rng.integers(100, 1000), rng.lognormal(sigma=2)
        found[f"m{index}"] = [
            GridOption(grid=FOUR, bytes=int(size * 0.6), loss=loss),
            GridOption(grid=EIGHT, bytes=int(size * 1.1), loss=loss * rng.uniform(0, 0.1)),
            GridOption(grid=None, bytes=int(size * 4), loss=0.0),
        ]
    return found


def every(options):
    for chosen in product(*options.values()):
        yield sum(each.bytes for each in chosen), sum(each.loss for each in chosen)


@pytest.mark.parametrize("seed", range(5))
def test_plans_are_the_best_of_their_size(seed):
    options = random_options(seed)
    combinations = list(every(options))
    found = list(plans(options))
    assert found[0].bytes == min(size for size, _ in combinations) and found[-1].loss == 0
    assert least_loss(options) == found[-1]
    for plan in found:
        assert plan.loss <= min(loss for size, loss in combinations if size <= plan.bytes) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_within_bytes_is_near_the_best_there_is(seed):
    options = random_options(seed)
    combinations = list(every(options))
    limit = int(np.median([size for size, _ in combinations]))
    plan = within_bytes(options, limit)
    assert plan.bytes <= limit
    assert plan.loss <= min(loss for size, loss in combinations if size <= limit * 0.8)


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_within_a_loss_is_near_the_least_size(seed):
    options = random_options(seed)
    combinations = list(every(options))
    limit = float(np.median([loss for _, loss in combinations]))
    plan = within_loss(options, limit)
    assert plan.loss <= limit
    assert plan.bytes <= 1.3 * min(size for size, loss in combinations if loss <= limit)


def test_there_is_no_plan_for_less_than_the_smallest():
    options = random_options(0)
    least = next(plans(options)).bytes
    assert within_bytes(options, least - 1) is None and within_bytes(options, least).bytes == least
    assert within_loss({"a": [GridOption(grid=FOUR, bytes=3, loss=1.0)]}, 0.5) is None


def test_what_is_larger_and_no_better_is_no_option():
    options = [
        GridOption(grid=FOUR, bytes=10, loss=1.0),
        GridOption(grid=EIGHT, bytes=20, loss=1.0),
        GridOption(grid=None, bytes=40, loss=0.0),
        GridOption(grid=grid(64), bytes=30, loss=0.9),
    ]
    assert [each.bytes for each in hull(options)] == [10, 40]
