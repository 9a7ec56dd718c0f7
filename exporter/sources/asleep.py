"""torch's workers sleep while they wait."""

from __future__ import annotations

import os
from importlib.util import find_spec

# Read by OpenMP when torch is loaded, and never again.
_POLICY = "OMP_WAIT_POLICY"


def load_torch_asleep() -> None:
    """Load torch so that workers which wait for a product sleep, unless it is loaded, or somebody said otherwise.

    By default they spin for milliseconds: where other work wants the cores, a decoder's export took four times the
    processor time for it. A sleeping worker is woken in tens of microseconds, which a transformer's products hide.
    Processes that are started later are not told: what is timed in them waits as it always does.
    """
    if _POLICY in os.environ or find_spec("torch") is None:
        return
    os.environ[_POLICY] = "PASSIVE"
    try:
        import torch  # noqa: F401
    finally:
        del os.environ[_POLICY]
