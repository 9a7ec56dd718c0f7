"""How well pixels are told apart: mean intersection over union, of scikit-learn's confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import InputError
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
            InputError: there is no such output, or one side has other shapes or classes.
        """
        given, wanted = one_of(outputs, self._output), np.asarray(masks)
        found = self._classes(given, wanted)
        counted = np.ones(wanted.shape, bool) if self._ignored is None else wanted != self._ignored
        for side, classes in (("The model gives", found[counted]), ("To be found are", wanted[counted])):
            self._check(side, classes)
        if not counted.any():  # which scikit-learn takes for a fault
            return
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

    def _classes(self, given: Array, wanted: Array) -> Array:
        """The model's class of each pixel.

        Raises:
            InputError: it has the shape of neither scores nor classes.
        """
        count = len(self._confused)
        if given.shape == wanted.shape:
            return given
        if given.ndim == wanted.ndim + 1 and given.shape == (len(wanted), count, *wanted.shape[1:]):
            return np.asarray(given.argmax(axis=1))
        raise InputError(
            f"The output has the shape {given.shape}, the masks {wanted.shape}; expected scores of (B, {count}, H, W) "
            "or classes of (B, H, W), of as many pixels as the masks.",
            hint="Make classes of one score a pixel by comparing it, as in (outputs > 0.5).",
        )

    def _check(self, side: str, classes: Array) -> None:
        """Refuse what scikit-learn would leave out: pixels of classes that are not told of would count on no side.

        Raises:
            InputError: there are such.
        """
        count = len(self._confused)
        if other := sorted({*np.unique(classes).tolist()} - {*range(count)}):
            raise InputError(
                f"{side} pixels of {', '.join(map(str, other[:5]))}; expected classes of 0 to {count - 1}.",
                hint="Give the number of all classes, and as `ignored` the one that does not count.",
            )
