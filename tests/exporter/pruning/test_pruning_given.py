"""Widths that a recipe gives become the same removal that a choice of these widths is."""

from __future__ import annotations

import pytest

from edgepress.errors import InputError
from edgepress.exporter.pruning.given import named_groups, removal_of
from edgepress.exporter.pruning.groups import Found, Group

FOUND = Found(
    groups=(
        Group(name="stem", kind="channels", units=32),
        Group(name="block.attention", kind="heads", units=6, size=12),
        Group(name="block", kind="block", units=1),
    ),
    kept={"head": "its channels are the model's output"},
)
ORDER = {"stem": tuple(reversed(range(32))), "block.attention": (5, 0, 1, 2, 3, 4), "block": (0,)}


def test_the_least_important_units_go_and_groups_without_a_width_stay() -> None:
    widths = {"block.attention": 4, "stem": 8}
    groups = named_groups(widths, FOUND, 8)
    assert [group.name for group in groups] == ["stem", "block.attention"]
    assert removal_of(widths, groups, ORDER) == {"stem": tuple(range(31, 7, -1)), "block.attention": (5, 0)}
    assert removal_of({"block": 0}, named_groups({"block": 0}, FOUND, 8), ORDER) == {"block": (0,)}


@pytest.mark.parametrize(
    ("name", "width", "words"),
    [
        ("stm", 8, "no group of the model.*Did you mean stem?"),
        ("zzzz", 8, "no group of the model.*The groups are stem, block.attention, block"),
        ("head", 8, "head, which cannot be pruned: its channels are the model's output"),
        ("stem", 32, "leaves 32 of stem, which is 32 channels; expected less, and a positive multiple of 8"),
        ("stem", 0, "leaves 0 of stem"),
        ("stem", 20, "leaves 20 of stem"),
        ("block.attention", 3, "3 of block.attention, which is 6 heads; expected less, and a positive multiple of 2"),
        ("block", 1, "leaves 1 of block, which is a block; expected 0"),
    ],
)
def test_a_width_that_a_group_cannot_have_is_refused(name: str, width: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        named_groups({"stem": 8, name: width}, FOUND, 8)
    said = " ".join(str(caught.value).split())
    for part in words.split(".*"):
        assert part in said
    assert "--prune SHARE" in said
