"""Whether weights are any test of an export: what torch itself keeps of an answer where next to nothing is rounded.

Random weights of a deep network may amplify whatever is rounded until nothing of the input is left, so that no int8 of
it can be right, whoever makes it. edgepress is not asked here.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .judge import Values, flattened, signal_and_error, sqnr_db
from .model import Feed

# Least that torch must have where its float inputs alone are in 8 bits, which leaves some 40 dB of noise, and of its
# float32 against its own float64: trained networks have 35 dB or more, and over 100 (decision 80).
LEAST_ROUNDED_DB, LEAST_DOUBLE_DB = 30.0, 70.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """The worst output of torch against itself, dB; None where that cannot be asked.

    Attributes:
        inputs_db: the worst float input in 8 bits, a scale a tensor.
        rounded_db: with nothing but the inputs so rounded, against its float32.
        double_db: its float32 against its float64.
    """

    inputs_db: float | None
    rounded_db: float | None
    double_db: float | None

    @property
    def holds(self) -> bool:
        """These weights say something about an export."""
        asked = ((self.rounded_db, LEAST_ROUNDED_DB), (self.double_db, LEAST_DOUBLE_DB))
        return all(found is None or found >= least for found, least in asked)

    def line(self) -> dict[str, float]:
        """For a line of results."""
        return {key: round(value, 1) for key, value in asdict(self).items() if value is not None}


def forward(module: Any, feed: Feed) -> Values:
    """What a torch module answers, by output."""
    import torch

    with torch.no_grad():
        return flattened(module(**as_tensors(feed)))


def as_tensors(feed: Feed) -> dict[str, Any]:
    """A feed for torch."""
    import torch

    return {name: torch.from_numpy(np.asarray(array)) for name, array in feed.items()}


def steadiness(module: Any, feeds: list[Feed], answers: list[Values]) -> Steadiness:
    """Of a module in float32, on feeds that it answers so."""
    rounded = in_8_bits(feeds)
    inputs_db = worst_db(feeds, rounded)
    moved = None if inputs_db is None else [forward(module, feed) for feed in rounded]
    return Steadiness(
        inputs_db=inputs_db, rounded_db=moved and worst_db(answers, moved), double_db=_double_db(module, feeds, answers)
    )


def in_8_bits(feeds: list[Feed]) -> list[Feed]:
    """The feeds with each float input on 256 steps between the least and the greatest of its values."""
    made = [dict(feed) for feed in feeds]
    for name in _floats(feeds[0]):
        low, high = (float(of([of(feed[name]) for feed in feeds])) for of in (np.min, np.max))
        step = (high - low) / 255 or 1.0
        for feed in made:
            feed[name] = np.asarray(np.round((feed[name] - low) / step) * step + low, np.float32)
    return made


def _floats(values: Values) -> list[str]:
    return [name for name, array in values.items() if array.dtype.kind == "f"]


def _double_db(module: Any, feeds: list[Feed], answers: list[Values]) -> float | None:
    """None for a module that insists on float32 somewhere within."""
    doubled = copy.deepcopy(module).double()
    wide = [{name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in feed.items()} for feed in feeds]
    try:
        return worst_db([forward(doubled, feed) for feed in wide], answers)
    except (RuntimeError, TypeError):
        return None


def worst_db(right: list[Values], found: list[Values]) -> float | None:
    """The least SQNR of a float tensor over all feeds; None where there is none."""
    names = _floats(right[0])
    joined = ((np.concatenate([values[name].ravel() for values in of]) for of in (right, found)) for name in names)
    return min((sqnr_db(*signal_and_error(*both)) for both in joined), default=None)
