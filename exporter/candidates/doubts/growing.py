"""Ranges that still grow with the data: there are larger values than the calibration samples show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from ....calibration.statistics import Statistics

# By what factor the largest values grow as samples double, in half of the tensors. Of mixnet_s, trained for a few
# minutes, it was 1.28, and one of 80 held-out pictures, 3.75 times as strong as any of 128, took int8 from 22 to 6 dB;
# of resnet10t and a ViT it is 1.01 and 1.02 (docs/zoo.md).
_GROWS = 1.15
# Of fewer doublings nothing follows.
_DOUBLINGS = 1.0


def growing(first: Mapping[str, float], samples: int, seen: Statistics) -> dict[str, str]:
    """What to say where the largest values went on growing, under `growing`; else empty.

    Args:
        first: the largest magnitudes on the first samples, by tensor; empty where they are not known.
        samples: how many those are.
        seen: of these and the samples behind them.
    """
    doublings = math.log2(seen.samples / samples) if samples and seen.samples else 0.0
    known = [seen.tensors[name].largest / most for name, most in first.items() if name in seen.tensors and most > 0]
    if doublings < _DOUBLINGS or not known:
        return {}
    typical = statistics.median(known)
    if typical ** (1 / doublings) < _GROWS:
        return {}
    return {
        "growing": f"The largest values still grow with the data: from the first {samples} to all {seen.samples} "
        f"samples by {typical - 1:.0%} or more in half of what is rounded. Samples that are larger than all "
        "of these are clipped, and may have far less than the figures here: give more calibration data, with the "
        "largest that the model will meet, or ship float."
    }
