"""The user's own metric, asked for and checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...backends.base import Array, Feed
from ...errors import InputError
from ..progress import Advance
from . import Predict, user_errors


def score(evaluate: Callable[[Predict], float], predict: Predict) -> float:
    """What `evaluate` says of a predictor, higher is better.

    Raises:
        InputError: it raised, or did not return a finite number.
    """
    with user_errors("evaluate()"):
        value: Any = evaluate(predict)
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"evaluate() returned {value!r}; expected a finite number, higher is better.")
    return number


def counting(predict: Predict, advance: Advance, label: str) -> Predict:
    """The same, which tells how many batches of a metric it has answered."""
    calls = 0

    def counted(feed: Feed) -> dict[str, Array]:
        nonlocal calls
        calls += 1
        advance(None, f"metric of {label}, batch {calls}")
        return predict(feed)

    return counted
