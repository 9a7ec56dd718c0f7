"""What a manifest says of outputs is what they are."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.backends.base import TensorSpec
from edgepress.exporter.bundle.shapes import as_seen


@pytest.mark.parametrize(
    ("declared", "seen", "told"),
    [
        (("N", 5), [(1, 5), (2, 5)], ("N", 5)),
        ((1, 5), [(1, 5), (1, 5)], (1, 5)),
        ((1, 5), [(1, 5), (2, 5)], ("y_axis0", 5)),
        (("N", 10), [(1, 5), (2, 5)], ("N", "y_axis1")),
        ((5,), [(1, 5), (2, 5)], ("y_axis0", 5)),
        ((1, 5), [()], ()),
        ((), [()], ()),
        ((1, 5), [(1, 5), (5,)], (1, 5)),
    ],
)
def test_an_axis_is_free_whose_size_is_not_the_declared_one(
    declared: tuple[int | str, ...], seen: list[tuple[int, ...]], told: tuple[int | str, ...]
) -> None:
    spec = TensorSpec(name="y", dtype="float32", shape=declared)
    (found,) = as_seen([spec], [{"y": np.zeros(shape)} for shape in seen])
    assert found == TensorSpec(name="y", dtype="float32", shape=told)
