"""Constants that onnxscript's rules take for others, which are next to them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from types import SimpleNamespace
from unittest.mock import patch

# float32 rounds a constant to 6e-8 of it.
_ROUNDED = 1e-7


@contextlib.contextmanager
def exact_constants() -> Iterator[None]:
    """Inside, a rule finds the constant that it is about, and none that is close to it.

    onnxscript (0.7) compares with an absolute tolerance of 1e-8 and a relative one of 1e-5: `x + 1e-10` was `x`. What
    keeps a logarithm or a quotient finite where a signal is silent was gone, and noise as a proof's input hides that.
    """
    from onnxscript.rewriter import _matcher

    with patch.object(_matcher, "math", SimpleNamespace(isclose=_same)):
        yield


def _same(one: float, other: float, **_tolerances: float) -> bool:
    return math.isclose(one, other, rel_tol=_ROUNDED, abs_tol=0.0)
