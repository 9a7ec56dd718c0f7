"""Run seeds, or render what they gave."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from . import figures, kills, trials
from .records import scratch_directory
from .sound import Sound

RUNS = {"inputs": trials.run, "kills": kills.run_kills, "interrupts": kills.run_interrupts}


def sample(directory: Path) -> None:
    """A few seeds of each, of what is quickly arranged, each in a file there: a part of the default tests."""
    with scratch_directory() as scratch:
        sound = Sound(scratch / "sound", trials.edgepress)
        trials.given(range(8), directory / "inputs.jsonl", sound, ("keys", "planted"))
        for what in ("kills", "interrupts"):
            kills.struck(what, range(3), directory / f"{what}.jsonl", sound, ("export --force", "history"))


if __name__ == "__main__":
    os.environ.pop("PYTHONSAFEPATH", None)  # it kept this directory out of sys.path; users do not set it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for what it puts in the background
    what, *rest = sys.argv[1:]
    if what == "render":
        print(figures.render([Path(file) for file in rest]))
    elif what == "sample":
        sample(Path(rest[0]))
    else:
        first, last = map(int, rest[0].split(":"))
        RUNS[what](range(first, last), Path(rest[1]), rest[2:])
