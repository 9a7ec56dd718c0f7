"""The processes that `accelerate launch` or torchrun started; both say it in the environment."""

from __future__ import annotations

import os


def rank() -> int:
    """This process's number; 0 goes on to export, the others leave when the training is over."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))
