"""Calibration samples that are all but the same, or the same few: they show neither ranges nor what int8 costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....backends.base import Array, SampleAxes

# Samples that differ by less than this share of the outputs themselves, in amplitude, show one point of the model.
_ALIKE = 0.01


def alike(
    feeds: Sequence[Mapping[str, Array]], expected: Sequence[Mapping[str, Array]], along: SampleAxes
) -> dict[str, str]:
    """What to say of samples that hardly vary, and whose outputs do not either, under `alike`; else empty.

    Args:
        feeds, expected: the samples and what the model gives for them, by name, a mapping a batch.
        along: where the samples of a batch lie.
    """
    floats = {name for name, array in expected[0].items() if array.dtype.kind == "f"}
    known = [
        share for name in floats if (share := _varies([along.first(name, one[name]) for one in expected])) is not None
    ]
    if not known or max(known) >= _ALIKE:
        return {}
    given = [_varies([along.first(name, one[name]) for one in feeds]) for name in feeds[0]]
    if any(share is None or share >= _ALIKE for share in given):
        return {}  # what varies leaves no trace in the outputs
    return {
        "alike": f"The calibration samples are all but the same: the model's outputs differ by {max(known):.2%} "
        "between them, so that neither ranges nor figures say anything of other inputs. Give samples as varied as "
        "what the model will meet."
    }


def repeated(feeds: Sequence[Mapping[str, Array]], along: SampleAxes) -> dict[str, str]:
    """What to say of samples of which most are there twice or more, under `repeated`; else empty.

    Args:
        feeds: the samples by name, a mapping a batch.
        along: where the samples of a batch lie.
    """
    samples = [sample_bytes(feed, along, index) for feed in feeds for index in range(along.count(feed))]
    different = len(set(samples))
    if different > len(samples) / 2 or not samples:
        return {}
    return {
        "repeated": f"Of the first {len(samples)} calibration samples {different} "
        f"{'is' if different == 1 else 'are'} different, and the others repeat {'it' if different == 1 else 'them'}: "
        "ranges and figures say no more than so few do. Give samples as varied as what the model will meet."
    }


def sample_bytes(feed: Mapping[str, Array], along: SampleAxes, index: int) -> bytes:
    """Of one sample, and of what belongs to all of them."""
    one = feed if along.count(feed) == 1 else along.part(feed, slice(index, index + 1))
    return b"".join(array.tobytes() for array in one.values())


def _varies(arrays: Sequence[Array]) -> float | None:
    """By what share of their own amplitude arrays differ between samples; None where that cannot be told."""
    if (
        any(array.dtype.kind not in "fiu" or array.ndim == 0 for array in arrays)
        or len({a.shape[1:] for a in arrays}) > 1
    ):
        return None
    count, whole = sum(map(len, arrays)), 0.0
    total = np.zeros(arrays[0].shape[1:])
    for array in arrays:
        total += array.sum(axis=0, dtype=np.float64)
        whole += float(np.square(array, dtype=np.float64).sum())
    if count < 2 or not np.isfinite(whole) or not whole:
        return None
    return float(np.sqrt(max(0.0, whole - float(np.square(total).sum()) / count) / whole))
