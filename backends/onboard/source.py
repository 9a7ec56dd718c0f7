"""`build.py`: the modules of this directory in one file, for a device that has no edgepress."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..one_file import one_file

# In the order of their imports.
MODULES = (
    "orders",
    "parsing",
    "settings",
    "dla",
    "aside",
    "timing_cache",
    "building",
    "kernels",
    "driver",
    "sessions",
    "arrays",
    "agreement",
    "proof",
    "machine",
    "clocking",
    "serving",
    "program",
)
_HEAD = '''\
#!/usr/bin/env python3
"""Builds the engine of this bundle with the TensorRT of this device, proves it on the golden inputs, and records how.

Python 3.6 and later; nothing but the standard library and TensorRT. `python3 build.py --help` says more. It is made of
the modules of `edgepress.backends.onboard`, one behind the other.
"""
'''
_FOOT = '\n\nif __name__ == "__main__":\n    sys.exit(main())\n'


@cache
def joined() -> str:
    """The text of `build.py`; the same edgepress gives the same."""
    return _HEAD + one_file(Path(__file__).parent, MODULES) + _FOOT
