"""Run seeds, or render what they gave."""

from __future__ import annotations

import argparse
import os
import signal
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


def arguments() -> argparse.ArgumentParser:
    """A command for each of RUNS, and two more."""
    parser = argparse.ArgumentParser(prog="scripts/attack", description="Attack every command, a JSON line a seed.")
    commands = parser.add_subparsers(dest="what", required=True)
    for what in RUNS:
        run = commands.add_parser(what)
        run.add_argument("seeds", type=seeds, metavar="SEEDS", help="as 0:300, without the last")
        run.add_argument("file", type=Path, metavar="FILE", help="seeds in it already are not run again")
        run.add_argument("parts", nargs="*", help="names of the parts or scenarios alone that are attacked")
    few = commands.add_parser("sample", help="a few seeds of each, in files there")
    few.add_argument("directory", type=Path)
    few.add_argument("parts", nargs="*", default=list(RUNS))
    commands.add_parser("render", help="the tables of docs/reliability.md").add_argument("files", nargs="+", type=Path)
    return parser


def seeds(text: str) -> range:
    """From `0:300`."""
    first, last = map(int, text.split(":"))
    return range(first, last)


if __name__ == "__main__":
    os.environ.pop("PYTHONSAFEPATH", None)  # it kept this directory out of sys.path; users do not set it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for what it puts in the background
    given = arguments().parse_args()
    if given.what == "render":
        print(figures.render(given.files))
    elif given.what == "sample":
        sample(given.directory, given.parts)
    else:
        RUNS[given.what](given.seeds, given.file, given.parts)
