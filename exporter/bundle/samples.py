"""The raw latencies in a bundle: `latency.npz`, in nanoseconds."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...profiles.timing.measurement import Latency, Measurement
from .manifest import LATENCY

ROUNDS = "rounds/"  # before the name of an arm: the round that each of its samples was taken in


def save_samples(directory: Path, latency: Mapping[str, Measurement]) -> None:
    """Write the file, unless nothing was measured."""
    if latency:
        samples = {name: np.asarray(found.samples, np.int64) for name, found in latency.items()}
        rounds = {f"{ROUNDS}{name}": np.asarray(found.rounds, np.int32) for name, found in latency.items()}
        np.savez_compressed(directory / LATENCY, **samples, **rounds)  # type: ignore[arg-type]


def load_samples(directory: Path, latency: Mapping[str, Latency]) -> dict[str, Measurement]:
    """The samples by arm; nothing where the bundle keeps none, and no rounds where it does not keep them.

    Args:
        latency: what the bundle's report says of each arm.

    Raises:
        InputError: the file is damaged.
    """
    file = directory / LATENCY
    if not file.exists():
        return {}
    try:
        with zipfile.ZipFile(file), np.load(file) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} cannot be read: {error}.", hint="Copy the bundle again, whole.") from error
    return {
        arm: Measurement(
            samples=tuple(arrays[arm].tolist()),
            rounds=tuple(arrays[f"{ROUNDS}{arm}"].tolist()) if f"{ROUNDS}{arm}" in arrays else (),
            stable=one.stable,
        )
        for arm, one in latency.items()
        if arm in arrays
    }
