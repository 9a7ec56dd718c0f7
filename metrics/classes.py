"""How often the right class is among the best: scikit-learn's top-k accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import InputError
from .library import Array, library, need_samples, one_of


class TopK:
    """Share of samples whose class is among the `k` highest scores; `TopK(1)` is accuracy.

    Args:
        output: the model's, (B, C) scores; the first one where it is not named.

    Raises:
        InputError: `k` is below 1, or scikit-learn is not installed.
    """

    def __init__(self, k: int = 1, output: str | None = None) -> None:
        if k < 1:
            raise InputError(f"The share among the {k} best scores was asked for; expected 1 or more.")
        self._k, self._output = k, output
        self._metrics = library("sklearn.metrics", "scikit-learn")
        self._scores: list[Array] = []
        self._classes: list[Array] = []

    def add(self, outputs: Mapping[str, Array] | Array, classes: Array) -> None:
        """What a model gave for some samples, and their classes (B,).

        Raises:
            InputError: there is no such output, it is no scores of as many samples, or it has none of a class.
        """
        scores, wanted = one_of(outputs, self._output), np.asarray(classes)
        if scores.ndim != 2 or wanted.shape != scores.shape[:1]:
            raise InputError(
                f"The output has the shape {scores.shape}, the classes {wanted.shape}; expected scores of (B, C) and "
                "classes of (B,).",
                hint="Name the output that has the scores, as in TopK(output='scores').",
            )
        if len(wanted) and not (np.isin(wanted, np.arange(scores.shape[1])).all()):
            raise InputError(
                f"The classes are {wanted.min()} to {wanted.max()}, the scores those of {scores.shape[1]} classes; "
                f"expected whole numbers of 0 to {scores.shape[1] - 1}.",
                hint="Count classes from 0; leave out samples of classes that the model does not know.",
            )
        self._scores.append(scores)
        self._classes.append(wanted)

    @property
    def value(self) -> float:
        """Between 0 and 1.

        Raises:
            InputError: nothing was given, or no class could be missed.
        """
        need_samples(len(self._scores))
        scores, classes = np.concatenate(self._scores), np.concatenate(self._classes)
        if self._k == 1:  # of two classes scikit-learn wants one score
            return float(self._metrics.accuracy_score(classes, scores.argmax(axis=1)))
        if self._k >= scores.shape[1]:
            raise InputError(
                f"Among the {self._k} best of {scores.shape[1]} classes is every one, whatever the model gives.",
                hint="Ask for fewer, as TopK(1) does.",
            )
        numbers = np.arange(scores.shape[1])
        return float(self._metrics.top_k_accuracy_score(classes, scores, k=self._k, labels=numbers))
