"""Trials: one seed, one damaged file, one command that reads it."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from forked import Job, edgepress_main, fork, outcomes, prepare, unguarded

from damage.subjects import Subject, subjects

WRONG = "\nWRONG: "
# Commands that one process does: importing the runtime takes longer than most of them.
TOGETHER = 8
TOLD = frozenset({0, 1, 2, 3, 4, 5})


def run(seeds: Iterable[int], results: Path, processes: int) -> None:
    """Run these seeds, and append a line each to the file; those in it already are not run again."""
    results.parent.mkdir(parents=True, exist_ok=True)
    known = {json.loads(line)["seed"] for line in results.read_text().splitlines()} if results.exists() else set()
    with tempfile.TemporaryDirectory(prefix="damage-") as scratch, results.open("a") as out:
        prepare(Path(scratch))
        kinds = subjects(Path(scratch) / "sound", edgepress)
        left = (seed for seed in seeds if seed not in known)
        for found in _tried(kinds, left, Path(scratch), processes):
            out.write(json.dumps(judged(found)) + "\n")
            out.flush()


def _tried(kinds: Sequence[Subject], seeds: Iterable[int], scratch: Path, processes: int) -> Iterator[dict[str, Any]]:
    """Several commands a process, which opens every file itself; what that ends is run again as it is for a user.

    There edgepress tries a file from elsewhere in a process of its own, which takes longer than all the rest.
    """
    ended = []
    for found in outcomes((trial(kinds, seed, scratch, bare=True) for seed in seeds), processes, TOGETHER):
        if found["ended"] is None:
            yield found
        else:
            ended.append(found["seed"])
    yield from outcomes((trial(kinds, seed, scratch) for seed in ended), processes)


def edgepress(words: Sequence[str], directory: Path) -> int:
    """Run one command there, and return its exit code."""
    _, status = os.waitpid(fork(partial(edgepress_main, *words), directory), 0)
    return os.waitstatus_to_exitcode(status)


def trial(kinds: Sequence[Subject], seed: int, scratch: Path, *, bare: bool = False) -> Job:
    """Damage a file as the seed says, for a command that reads it.

    Args:
        bare: the command opens the file in its own process.
    """
    chance = random.Random(seed)
    subject = chance.choice(list(kinds))
    directory = scratch / f"trial{seed}"
    said, command = subject.damage(chance, directory)
    record = {"seed": seed, "subject": subject.name, "change": said, "command": list(command)[:2]}
    return Job(record=record, directory=directory, work=partial(command_judged, command, bare=bare))


def command_judged(command: Sequence[str], *, bare: bool) -> int:
    """One command; where it exports, what it made is held against the file that it was given."""
    if bare:
        unguarded()
    code = edgepress_main(*command)
    if code == 0 and command[0] == "export":
        from damage.truth import falsehood

        for manifest in sorted(Path("out").glob("*/manifest.json")):
            if fault := falsehood(Path(command[1]), manifest.parent):
                print(f"{WRONG}{fault}", file=sys.stderr)
    return code


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """How a trial ended; whole words where it should not have ended so."""
    words = found.pop("words")
    ended = found["ended"] or _ended(found["code"], words)
    said = next((line for line in words.splitlines() if line.startswith("error: ")), "")
    return {**found, "ended": ended, "said": said[:300] if ended in ("made", "refused") else words[-3000:]}


def _ended(code: int, words: str) -> str:
    if WRONG in words:
        return "wrong"
    if "Traceback" in words or code not in TOLD or (code and "rror: " not in words):
        return "traceback"
    return "refused" if code else "made"
