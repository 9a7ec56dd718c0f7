"""What float32 itself leaves of a model's outputs: the module in float64 beside it.

A network may amplify every rounding, so that two right orders of the same sums are far apart. What torch's own float32
has against float64 then is what any float32 may have, and a graph is held to that.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...backends.base import Array, Feed
from ...errors import VerificationError
from ...profiles.findings.parity import Parity, parity
from ...profiles.findings.rows import Rows
from ..sources import Source, torch_predict
from ..sources.torch_module import output_tensors

# What is asked of any graph, of one that rounding explains as well: at 30 dB levit_128s was taken, and had 20 on
# held-out inputs.
LEAST_SQNR_DB, LEAST_COSINE = 50.0, 0.9999
# By how much two float32 may differ in what they leave (8 dB were seen of mixnet_s, whose norms are folded in a graph).
_ALIKE_DB = 12.0
_ALIKE = 10 ** (_ALIKE_DB / 20)


def own_rounding(
    source: Source, feeds: Sequence[Feed], answers: Sequence[Mapping[str, Array]], rows: Iterable[Rows] = ()
) -> Mapping[str, Parity]:
    """Parity of what the module answered in float32 with what it answers in float64, by output.

    Args:
        rows: outputs that are sets of rows.

    Returns:
        Nothing where there is no module, it does not run in float64, or it does not repeat itself: randomness in
        `forward` is as far from itself as rounding may be.
    """
    exact = exact_answers(source, feeds, answers)
    try:
        return parity(exact, answers, rows=rows) if exact else {}
    except VerificationError:  # other rows, or NaN in one of both
        return {}


def exact_answers(
    source: Source, feeds: Sequence[Feed], answers: Sequence[Mapping[str, Array]]
) -> list[dict[str, Array]]:
    """What the module answers in float64.

    Args:
        answers: the module's in float32.

    Returns:
        Nothing where nothing is known, as of `own_rounding`.
    """
    if source.module is None or not _repeats(source, feeds, answers):
        return []
    try:
        wide = copy.deepcopy(source.module).double()
        return [
            {name: tensor.cpu().numpy() for name, tensor in output_tensors(wide, _wide(feed)).items()} for feed in feeds
        ]
    except Exception:  # a module may name its type
        return []


def explains(own: Parity, found: Parity) -> bool:
    """Whether a graph is no further from the module than the module, in float32, is from itself."""
    alike = is_alike(own, found) and math.isfinite(found.max_abs) and found.max_abs <= _ALIKE * own.max_abs
    return alike and found.weakest_db >= LEAST_SQNR_DB and found.cosine >= LEAST_COSINE


def amplified(own: Parity, found: Parity) -> bool:
    """Whether the module's own rounding is why a graph has too few dB: no float32 has enough, or this one is as far."""
    return own.weakest_db < LEAST_SQNR_DB or (found.weakest_db < LEAST_SQNR_DB and is_alike(own, found))


def is_alike(own: Parity, found: Parity) -> bool:
    """Whether it is as far off as two float32 of this model are from each other, or not by much more."""
    return found.weakest_db >= own.weakest_db - _ALIKE_DB


def _repeats(source: Source, feeds: Sequence[Feed], answers: Sequence[Mapping[str, Array]]) -> bool:
    """Whether the module, in float32, answers bit for bit what it answered before."""
    predict = torch_predict(source)
    again = (predict(feed) for feed in feeds)
    return all(
        np.array_equal(one[name], array)
        for one, answer in zip(again, answers, strict=True)
        for name, array in answer.items()
    )


def _wide(feed: Feed) -> Feed:
    return {name: array.astype(np.float64) if array.dtype == np.float32 else array for name, array in feed.items()}
