"""The user's own metric, asked for and checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...errors import InputError
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
