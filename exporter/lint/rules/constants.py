"""Constants that are no numbers: whatever reads them gives nothing that is one."""

from __future__ import annotations

from collections.abc import Iterator

from ...graphs.not_numbers import constants_not_numbers
from ..examined import Examined, found_at
from ..finding import Finding

SOURCE = "IEEE 754-2019: an operation on NaN gives NaN, and so do infinity times 0 and infinity less infinity."
_REMEDY = "Look at this layer in the trained model: training diverged, or the file is damaged. Mend it, export again."


def find(examined: Examined) -> Iterator[Finding]:
    """NaN in any constant, and infinity in a weight; a mask of infinity is none, and of scales the rule `pairs` tells.

    What is infinite in float16 is the rule `fp16-range`.
    """
    for one in constants_not_numbers(examined.model.graph):
        yield found_at(one.node, "error", f"its constant {one.name} {one.said}", remedy=_REMEDY, source=SOURCE)
