"""Calibration samples that are all but the same: they show neither ranges nor what int8 costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...backends.base import Array

# Samples that differ by less than this share of the outputs themselves, in amplitude, show one point of the model.
_ALIKE = 0.01


def alike(expected: Sequence[Mapping[str, Array]]) -> dict[str, str]:
    """What to say of samples for which no output of floats varies, under `alike`; empty where one does.

    Args:
        expected: what the model gives, by output, a mapping a batch.
    """
    found = [share for name in expected[0] if (share := _varies([each[name] for each in expected])) is not None]
    if not found or max(found) >= _ALIKE:
        return {}
    return {
        "alike": f"The calibration samples are all but the same: the model's outputs differ by {max(found):.2%} "
        "between them, so that neither ranges nor figures say anything of other inputs. Give samples as varied as "
        "what the model will meet."
    }


def _varies(arrays: Sequence[Array]) -> float | None:
    """By what share of their own amplitude outputs differ between samples; None where that cannot be told."""
    if any(array.dtype.kind != "f" or array.ndim == 0 for array in arrays) or len({a.shape[1:] for a in arrays}) > 1:
        return None
    rows = np.concatenate([array.astype(np.float64) for array in arrays])
    whole = float(np.square(rows).sum())
    if len(rows) < 2 or not np.isfinite(whole) or not whole:
        return None
    return float(np.sqrt(np.square(rows - rows.mean(axis=0)).sum() / whole))
