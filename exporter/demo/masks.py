"""Masks that an engine gives, and how far two of them agree."""

from __future__ import annotations

import numpy as np

from ...backends.base import Array
from ...calibration.images import Size
from ...errors import InputError
from .findings import Masks, MasksAgreement, Overlap, Region
from .fitting import UNSEEN, Fitting, Mask
from .labels import Labels
from .settings import PIXEL_SCORE, DemoSettings

# How much more a mask may be shrunk along one side of the image than along the other, before it is no mask of it.
_OUT_OF_SHAPE = 2


def mask_of(array: Array, fitting: Fitting, asked: DemoSettings, size: Size) -> Mask:
    """The class of each pixel of a picture that is drawn in a size, UNSEEN where the engine did not see it.

    Args:
        array: scores (C, H, W), or numbers of classes (H, W) or (1, H, W), of the whole image that the engine takes.

    Raises:
        InputError: values that are no numbers or no probabilities, or a shape that is not the image's.
    """
    height, width = array.shape[-2:]
    squeezed = (height / fitting.taken[0]) / (width / fitting.taken[1])
    if not 1 / _OUT_OF_SHAPE <= squeezed <= _OUT_OF_SHAPE:
        raise InputError(
            f"The mask has the shape {array.shape}, and the image is {fitting.taken[1]}x{fitting.taken[0]}; expected "
            "height and width to be the last two sizes, as in (B, C, H, W).",
            hint="Move the classes in front of height and width in postprocess().",
        )
    if array.dtype.kind in "biu":
        return fitting.spread(array.reshape(height, width).astype(np.int64), size)
    if not np.isfinite(array).all():
        raise InputError("A mask has values that are no numbers.", hint="`edgepress verify` says whether it is right.")
    cells = array.argmax(axis=0) if len(array) > 1 else _above(array[0], asked)
    return fitting.spread(cells.astype(np.int64), size)


def read_mask(mask: Mask, labels: Labels) -> Masks:
    """The regions of a mask."""
    numbers, counts = np.unique(mask, return_counts=True)
    share = {int(n): int(count) / mask.size for n, count in zip(numbers, counts, strict=True)}
    unseen = share.pop(UNSEEN, 0.0)
    regions = (Region(label=number, name=labels(number), share=part) for number, part in share.items())
    return Masks(regions=tuple(sorted(regions, key=lambda region: -region.share)), unseen=unseen)


def masks_agreement(first: Mask, second: Mask, labels: Labels) -> MasksAgreement:
    """How far two masks agree, where both engines saw the picture."""
    seen = (first != UNSEEN) & (second != UNSEEN)
    one, other = first[seen], second[seen]
    overlaps = (
        Overlap(
            label=int(number),
            name=labels(int(number)),
            both=int(((one == number) & (other == number)).sum()),
            either=int(((one == number) | (other == number)).sum()),
        )
        for number in np.union1d(one, other)
    )
    return MasksAgreement(same=int((one == other).sum()), of=int(seen.sum()), overlaps=tuple(overlaps))


def _above(scores: Array, asked: DemoSettings) -> Array:
    """1 where the one channel's score is high enough.

    Raises:
        InputError: they are no probabilities, and nobody said where the bound is.
    """
    values = scores.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if asked.score is None and not 0 <= low <= high <= 1:
        raise InputError(
            f"The one channel of the mask reaches from {low:.3g} to {high:.3g}: these are no probabilities.",
            hint="Say from where on a pixel belongs to the mask: --score 0 for what a sigmoid would be taken of.",
        )
    return np.asarray(values >= (PIXEL_SCORE if asked.score is None else asked.score))
