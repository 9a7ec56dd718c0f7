"""What float32 itself leaves of a model's outputs: the module in float64 beside it.

A network may amplify every rounding, so that two right orders of the same sums are far apart. What torch's own float32
has against float64 then is what any float32 may have, and a graph is held to that.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ...backends.base import Array, Feed
from ...profiles.findings.parity import Parity, parity
from ..sources import Source
from ..sources.torch_module import output_tensors

# By how much two float32 may differ in what they leave (8 dB were seen of mixnet_s, whose norms are folded in a graph),
# and what they must leave at all, in dB, as of any graph: at 30 levit_128s was taken, and had 20 on held-out inputs.
_ALIKE_DB, _LEAST_DB = 12.0, 50.0
_ALIKE = 10 ** (_ALIKE_DB / 20)


def own_rounding(source: Source, feeds: Sequence[Feed], answers: Sequence[Mapping[str, Array]]) -> Mapping[str, Parity]:
    """Parity of what the module answered in float32 with what it answers in float64, by output.

    Returns:
        Nothing where there is no module, or it does not run in float64.
    """
    if source.module is None:
        return {}
    try:
        wide = copy.deepcopy(source.module).double()
        exact = [
            {name: tensor.cpu().numpy() for name, tensor in output_tensors(wide, _wide(feed)).items()} for feed in feeds
        ]
        return parity(exact, answers)
    except Exception:  # a module may name its type; then nothing is known
        return {}


def explains(own: Parity, found: Parity) -> bool:
    """Whether a graph is no further from the module than the module, in float32, is from itself."""
    alike = found.weakest_db >= max(own.weakest_db - _ALIKE_DB, _LEAST_DB)
    return alike and math.isfinite(found.max_abs) and found.max_abs <= _ALIKE * own.max_abs


def _wide(feed: Feed) -> Feed:
    return {name: array.astype(np.float64) if array.dtype == np.float32 else array for name, array in feed.items()}
