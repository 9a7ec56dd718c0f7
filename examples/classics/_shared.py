"""Makes the examples' shared modules, one folder up, importable from here, and names those the classics use."""

from __future__ import annotations

import sys
from pathlib import Path

_EXAMPLES = str(Path(__file__).resolve().parents[1])
if _EXAMPLES not in sys.path:
    sys.path.append(_EXAMPLES)

from _digits import coloured_digits, digits
from _docstrings import docstrings, words
from _task import Part, Predict, Task
from _training import SEED, Batch, trained

__all__ = [
    "SEED",
    "Batch",
    "Part",
    "Predict",
    "Task",
    "coloured_digits",
    "digits",
    "docstrings",
    "trained",
    "words",
]
