"""What is changed in a float graph so that its int8 is more accurate: one lift a file, found by its entry point.

A lift is a `Lift`; another package may add its own. Without other wishes they are applied in the order of LIFTS, each
to what the one before left: what rescales channels first, and what makes up for rounding last.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....profiles.registry import Registry

LIFTS = Registry("edgepress.lifts", "lift", order=("equalize", "smooth", ..., "correct-bias", "correct-means"))
# What a lift has to bring on samples to be kept, in dB; others may cost a little. What runs the graph whenever that is
# written takes time, and less than this is chance.
NEEDED_DB: Mapping[str, float] = {"correct-means": 0.5}
