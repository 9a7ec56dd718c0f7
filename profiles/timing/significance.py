"""The one rule of when a ratio of latencies shows a difference.

The 95 % interval of the ratio excludes 1, and the ratio is at least CLAIM: the first keeps noise from deciding, the
second what the two share otherwise, as where their buffers happen to lie.
"""

from __future__ import annotations

from typing import Literal

from .ratio import Ratio

CLAIM = 1.02
Claim = Literal["faster", "slower", "no difference shown"]


def claim(ratio: Ratio) -> Claim:
    """What a ratio of latencies, above 1 where the second arm is faster, shows of that arm."""
    if ratio.low > 1 and ratio.value >= CLAIM:
        return "faster"
    if ratio.high < 1 and ratio.value <= 1 / CLAIM:
        return "slower"
    return "no difference shown"


def claimed(ratio: Ratio) -> bool:
    """Whether a ratio shows that the second arm is faster."""
    return claim(ratio) == "faster"


def undecided(ratio: Ratio) -> bool:
    """Whether more rounds could show what these do not."""
    return ratio.low <= 1 <= ratio.high
