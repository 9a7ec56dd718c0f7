"""Starting Python processes in which the folder that the user stands in shadows no module.

For `-c` and `-m` Python puts it first on the path. Against it 3.11 has PYTHONSAFEPATH and -P, and 3.10 only -I, which
leaves out the user's PYTHONPATH as well.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# `sys` is built in: nothing is looked for before the entry is gone.
_BOOT = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module as `python -m` would."""
    return [sys.executable, "-c", _BOOT, module, *arguments]


@contextmanager
def safe_workers() -> Iterator[None]:
    """Let `multiprocessing` start its processes so; what they import later is on the path of this process.

    It asks this function of its own for the flags of every interpreter that it starts.
    """
    from multiprocessing import util

    given = util._args_from_interpreter_flags  # type: ignore[attr-defined]
    flag = "-P" if sys.version_info >= (3, 11) else "-I"
    util._args_from_interpreter_flags = lambda: [*given(), flag]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        util._args_from_interpreter_flags = given  # type: ignore[attr-defined]
