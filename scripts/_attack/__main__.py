"""Run seeds, or render what they gave."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import figures, kills, trials
from .records import scratch_directory
from .sound import Sound

RUNS = {"inputs": trials.run, "kills": kills.run_kills, "interrupts": kills.run_interrupts}


def sample(directory: Path, parts: Sequence[str]) -> None:
    """A few seeds of these parts, of what is quickly arranged, each in a file there: it is among the tests."""
    with scratch_directory() as scratch:
        sound = Sound(scratch / "sound", trials.edgepress)
        for what in parts:
            results = directory / f"{what}.jsonl"
            if what == "inputs":
                trials.given(range(8), results, sound, ("keys", "planted"))
            else:
                kills.struck(what, range(3), results, sound, ("export --force", "history"))


if __name__ == "__main__":
    os.environ.pop("PYTHONSAFEPATH", None)  # it kept this directory out of sys.path; users do not set it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for what it puts in the background
    what, *rest = sys.argv[1:]
    if what == "render":
        print(figures.render([Path(file) for file in rest]))
    elif what == "sample":
        sample(Path(rest[0]), rest[1:] or list(RUNS))
    else:
        first, last = map(int, rest[0].split(":"))
        RUNS[what](range(first, last), Path(rest[1]), rest[2:])
