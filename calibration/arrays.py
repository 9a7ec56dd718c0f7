"""Arrays that lie in `.npy` and `.npz` files, which may be damaged or not what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..backends.base import Array
from ..errors import InputError


def read_arrays(path: Path) -> dict[str, Array] | Array:
    """All arrays of an `.npz` by name, or the one of an `.npy`; pickled objects are refused.

    Raises:
        InputError: no such file, or it cannot be understood; the message is the reason alone.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except Exception as error:  # numpy and zipfile raise a dozen kinds, MemoryError for a header that lies among them
        raise InputError(str(error) or type(error).__name__) from error
