"""How well pixels are told apart: mean intersection over union, of scikit-learn's confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .library import Array, library, need_samples, one_of


class MeanIoU:
    """Mean over the classes that occur of the pixels that both sides call so, among those that either does.

    Args:
        classes: how many there are.
        output: the model's, scores (B, C, H, W) or classes (B, H, W); the first one where it is not named.
        ignored: a class of pixels that do not count, as 255 in Pascal VOC.

    Raises:
        InputError: scikit-learn is not installed.
    """

    def __init__(self, classes: int, output: str | None = None, *, ignored: int | None = None) -> None:
        self._output, self._ignored = output, ignored
        self._metrics = library("sklearn.metrics", "scikit-learn")
        self._confused = np.zeros((classes, classes), np.int64)

    def add(self, outputs: Mapping[str, Array] | Array, masks: Array) -> None:
        """What a model gave for some pictures, and the class of each pixel (B, H, W).

        Raises:
            InputError: there is no such output.
        """
        given = one_of(outputs, self._output)
        found = (given.argmax(axis=1) if given.ndim == masks.ndim + 1 else given).ravel()
        wanted = np.asarray(masks).ravel()
        counted = np.ones(len(wanted), bool) if self._ignored is None else wanted != self._ignored
        numbers = range(len(self._confused))
        self._confused += self._metrics.confusion_matrix(wanted[counted], found[counted], labels=numbers)

    @property
    def value(self) -> float:
        """Between 0 and 1.

        Raises:
            InputError: nothing was given.
        """
        need_samples(int(self._confused.sum()))
        both = np.diag(self._confused)
        either = self._confused.sum(axis=0) + self._confused.sum(axis=1) - both
        return float((both[either > 0] / either[either > 0]).mean())
