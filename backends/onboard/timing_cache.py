"""Times of kernels that a device took before, so that building again takes seconds and chooses the same kernels.

A cache is valid for one GPU, one version of TensorRT and one driver: its file is named after them. TensorRT itself
refuses one of another GPU or version, and does not ask for the driver.
"""

import os
import re
import tempfile
from typing import Any, Optional, Tuple


def cache_path(device: str, version: str, driver: str) -> str:
    """The file of the caches of this user.

    Args:
        device: name and compute capability of the GPU.
        version: of TensorRT.
        driver: version of CUDA's driver.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    words = (re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-") or "unknown" for word in (device, version, driver))
    return os.path.join(home, "edgepress", "timing", "_".join(words) + ".cache")


def begin_cache(config: Any, path: str) -> Tuple[bool, int]:
    """Let a build use what is in the file: whether it can have a cache at all, and the bytes that it began with.

    A file that this TensorRT does not take counts for nothing, and is replaced.
    """
    for data in (_content(path), b""):
        cache = _made(config, data)
        if cache is not None and config.set_timing_cache(cache, False):
            return True, len(data)
    return False, 0


def _made(config: Any, data: bytes) -> Any:
    try:
        return config.create_timing_cache(data)
    except (RuntimeError, ValueError, TypeError):  # what bindings make of a null pointer differs between versions
        return None


def keep_cache(config: Any, path: str) -> Optional[int]:
    """Write what a build has learned, whole or not at all; its bytes, or None where it could not be kept."""
    cache = config.get_timing_cache()
    content = None if cache is None else cache.serialize()
    if content is None:
        return None
    data, part = bytes(content), ""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        opened, part = tempfile.mkstemp(dir=os.path.dirname(path))
        with os.fdopen(opened, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError:  # a full or read-only disk costs the next build time, and this one nothing
        if part and os.path.exists(part):
            os.unlink(part)
        return None
    return len(data)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
