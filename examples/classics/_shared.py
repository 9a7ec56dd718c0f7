"""Makes the examples' shared modules, one folder up, importable from here, and names those the classics use."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from _digits import coloured_digits, digits
from _docstrings import docstrings, words
from _task import Part, Predict, Task
from _training import Batch, seeded, trained

__all__ = [
    "Batch",
    "Part",
    "Predict",
    "Task",
    "coloured_digits",
    "digits",
    "docstrings",
    "seeded",
    "trained",
    "words",
]
