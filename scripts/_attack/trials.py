"""Trials: one seed, one damaged or planted file, one command that reads it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from forked import Job, edgepress_main, fork, outcomes, unguarded

from .records import known, scratch_directory
from .sound import Sound
from .subject import Command, Subject
from .subjects import subjects

FOUND = {word: f"\n{word.upper()}: " for word in ("wrong", "outside", "foreign")}
# Commands that one process does: importing the runtime takes longer than most of them.
TOGETHER = 8
TOLD = frozenset({0, 1, 2, 3, 4, 5})
EDGEPRESS = Path(sys.executable).with_name("edgepress")
# What a command may leave in the directory of a trial: the runner's own files, and its work.
OWN = frozenset({"work", "home", "tmp", "out.txt", "err", "secret"})


def run(seeds: Iterable[int], results: Path, names: Sequence[str] = ()) -> None:
    """Run these seeds, and append a line each to the file; those in it already are not run again."""
    with scratch_directory() as scratch:
        given(seeds, results, Sound(scratch / "sound", edgepress), names)


def given(seeds: Iterable[int], results: Path, sound: Sound, names: Sequence[str]) -> None:
    """The same beside sound files that others may use too."""
    done, kinds = known(results), subjects(sound, names)
    with results.open("a") as out:
        for found in tried(kinds, (seed for seed in seeds if seed not in done), sound.root.parent, 1):
            out.write(json.dumps(judged(found)) + "\n")
            out.flush()


def tried(kinds: Sequence[Subject], seeds: Iterable[int], scratch: Path, processes: int) -> Iterator[dict[str, Any]]:
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


def edgepress(words: Sequence[str], directory: Path, before: Callable[[], None] | None = None) -> int:
    """Run one command there, and return its exit code.

    Args:
        before: called in its process first.
    """

    def work() -> int:
        if before is not None:
            before()
        return edgepress_main(*words)

    _, status = os.waitpid(fork(work, directory), 0)
    return os.waitstatus_to_exitcode(status)


def trial(kinds: Sequence[Subject], seed: int, scratch: Path, *, bare: bool = False) -> Job:
    """Damage a file as the seed says, for a command that reads it.

    Args:
        bare: the command opens the file in its own process.
    """
    chance = random.Random(seed)
    subject = chance.choice(list(kinds))
    directory = scratch / f"trial{seed}"
    (directory / "home").mkdir(parents=True)
    said, command = subject.damage(chance, directory / "work", directory / "canary")
    record = {"seed": seed, "subject": subject.name, "change": said, "command": list(command)}
    return Job(record=record, directory=directory, work=partial(_command, subject, command, directory, bare))


def _command(subject: Subject, command: Command, directory: Path, bare: bool) -> int:
    """One command, and what is wrong with what it made or left, among its words."""
    os.chdir(directory / "work")
    os.environ["HOME"] = str(directory / "home")
    if subject.whole:
        # As the installed script: of this interpreter, with the product's own path.
        code = subprocess.run([EDGEPRESS, *command], check=False).returncode
    else:
        if bare:
            unguarded()
        code = edgepress_main(*command)
    for word, fault in _faults(subject, command, directory, code):
        print(f"{FOUND[word]}{fault}", file=sys.stderr)
    return code


def _faults(subject: Subject, command: Command, directory: Path, code: int) -> Iterator[tuple[str, str]]:
    if code == 0 and subject.signed:
        yield "wrong", "a changed file passes for signed"
    made = [] if code else sorted(Path("out").glob("*/manifest.json"))
    for manifest in made if command[1].endswith(".onnx") else []:
        from .truth import falsehood

        if (manifest.parent / "engine/build.sh").exists():
            subprocess.run(["sh", "build.sh"], cwd=manifest.parent / "engine", capture_output=True, check=False)
        elif fault := falsehood(Path(command[1]), manifest.parent):
            yield "wrong", fault
    if (directory / "canary").exists():
        yield "foreign", "planted code ran"
    if left := _left(directory):
        yield "outside", ", ".join(left)


def _left(directory: Path) -> list[str]:
    """What lies where the command had no business; torch and matplotlib have caches of their own."""
    from edgepress.profiles.machine import held

    beside = [path for path in directory.iterdir() if path.name not in {*OWN, "canary"}]
    above = [path for path in directory.parent.iterdir() if not path.name.startswith(("trial", "sound", "first.onnx"))]
    # What the process still holds goes with it, which is no fork that others share.
    passing = {path.name for path in held.holding()} | {"torchinductor_"}
    temporary = [path for path in (directory / "tmp").iterdir() if not path.name.startswith(tuple(passing))]
    home = [path for path in (directory / "home").iterdir() if path.name not in {".cache", ".config"}]
    return [str(path) for path in (*beside, *above, *temporary, *home)]


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """How a trial ended; whole words where it should not have ended so."""
    words = found.pop("words")
    ended = found["ended"] or _ended(found["code"], words)
    said = next((line for line in words.splitlines() if line.startswith("error: ")), "")
    return {**found, "ended": ended, "said": said[:300] if ended in ("made", "refused") else words[-3000:]}


def _ended(code: int, words: str) -> str:
    for word, mark in reversed(FOUND.items()):
        if mark in words:
            return word
    # After our message a user's own model may show where it failed.
    before = words.partition("error: ")[0] if code else words
    if "Traceback" in before or code not in TOLD or (code and "rror: " not in words):
        return "traceback"
    return "refused" if code else "made"
