"""Run seeds, or render what they gave."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from . import figures, kills, trials

RUNS = {"inputs": trials.run, "kills": kills.run_kills, "interrupts": kills.run_interrupts}

if __name__ == "__main__":
    os.environ.pop("PYTHONSAFEPATH", None)  # it kept this directory out of sys.path; users do not set it
    what, *rest = sys.argv[1:]
    if what == "render":
        print(figures.render([Path(file) for file in rest]))
    else:
        first, last = map(int, rest[0].split(":"))
        RUNS[what](range(first, last), Path(rest[1]), rest[2:])
