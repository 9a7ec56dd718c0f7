"""How good a model is, higher is better: for `evaluate`, by the libraries that others use.

    def evaluate(predict):
        precision = MeanAveragePrecision()
        for images, boxes, classes in held_out():
            precision.add(predict({"image": images}), boxes=boxes, classes=classes)
        return precision.value

The libraries come with `pip install 'edgepress[metrics]'`; each is imported when a metric of it is made.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .boxes import MeanAveragePrecision
    from .classes import TopK
    from .masks import MeanIoU
    from .words import WordAccuracy

_HOME = {"MeanAveragePrecision": "boxes", "MeanIoU": "masks", "TopK": "classes", "WordAccuracy": "words"}

__all__ = ["MeanAveragePrecision", "MeanIoU", "TopK", "WordAccuracy"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
