"""The raw latencies in a bundle: `latency.npz`, in nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.arrays import read_arrays
from ...errors import InputError, UnreadableError
from ...profiles.timing.measurement import Latency, Measurement
from .manifest import LATENCY

# Before the name of an arm: the round, and the fresh process, that each of its samples was taken in.
ROUNDS, PROCESSES = "rounds/", "processes/"


def save_samples(directory: Path, latency: Mapping[str, Measurement]) -> None:
    """Write the file, unless nothing was measured."""
    if latency:
        samples = {name: np.asarray(found.samples, np.int64) for name, found in latency.items()}
        rounds = {f"{ROUNDS}{name}": np.asarray(found.rounds, np.int32) for name, found in latency.items()}
        processes = {f"{PROCESSES}{name}": np.asarray(found.processes, np.int32) for name, found in latency.items()}
        np.savez_compressed(directory / LATENCY, **samples, **rounds, **processes)  # type: ignore[arg-type]


def load_samples(directory: Path, latency: Mapping[str, Latency]) -> dict[str, Measurement]:
    """The samples by arm; nothing where the bundle keeps none, and no rounds where it does not keep them.

    Args:
        latency: what the bundle's report says of each arm.

    Raises:
        UnreadableError: the file is damaged.
    """
    file = directory / LATENCY
    if not file.exists():
        return {}
    arrays = _arrays(file)
    try:
        return {
            arm: Measurement(
                samples=tuple(arrays[arm].tolist()),
                rounds=_told(arrays, ROUNDS, arm),
                processes=_told(arrays, PROCESSES, arm),
                stable=one.stable,
            )
            for arm, one in latency.items()
            if arm in arrays
        }
    except ValueError as error:
        raise InputError(f"{file} cannot be read: {error}.", hint="Copy the bundle again, whole.") from error


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Whole numbers along one axis, by name."""
    hint = "Copy the bundle again, whole."
    arrays = read_arrays(file, hint=hint)
    if not isinstance(arrays, dict) or any(a.ndim != 1 or a.dtype.kind not in "iu" for a in arrays.values()):
        raise UnreadableError.of(file, "latencies are whole numbers along one axis", hint=hint)
    return arrays


def _told(arrays: Mapping[str, NDArray[Any]], prefix: str, arm: str) -> tuple[int, ...]:
    return tuple(arrays[f"{prefix}{arm}"].tolist()) if f"{prefix}{arm}" in arrays else ()
