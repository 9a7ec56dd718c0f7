"""Kills and interrupts: one seed, one run that is struck, and the run after it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from forked import edgepress_main, fork

from edgepress.profiles.machine import interrupts

from .moments import on_operations, strike
from .records import known, scratch_directory
from .scenarios import Scenario, scenarios
from .sound import Sound
from .trials import EDGEPRESS, edgepress

# How the moment is chosen: a file operation of a fork, a time of a fork, a time of a process with all its imports.
FORMS = (*("operation", "time") * 4, "process")
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAID = "error: Interrupted; nothing half-written is left behind."
WAIT = 240.0
# Kills in one directory before the run that must come to its end.
MOST_KILLS = 6


class Extent:
    """How long a scenario takes, each found by a run when it is first asked for."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        self.scenario, self.directory = scenario, directory

    @cached_property
    def fork(self) -> tuple[int, float]:
        """File operations and seconds of a fork."""
        seconds = self._taken(lambda bout: bout.forked(partial(_counted, self.directory)))
        count = int((self.directory / "operations").read_text())
        shutil.rmtree(self.directory)
        return count, seconds

    @cached_property
    def process(self) -> float:
        """Seconds of a process with its imports."""
        seconds = self._taken(Bout.started)
        shutil.rmtree(self.directory)
        return seconds

    def _taken(self, begin: Callable[[Bout], int]) -> float:
        """To its end it must come, and what it makes must be whole."""
        shutil.copytree(self.scenario.before, self.directory / "work", symlinks=True)
        one = Bout(scenario=self.scenario, extent=self, directory=self.directory)
        begun = time.monotonic()
        status, _ = _ended(begin(one))
        seconds = time.monotonic() - begun
        fault = self.scenario.whole(one.work) or ", ".join(self.scenario.left(one.work, one.temporary))
        if status or fault:
            raise RuntimeError(
                f"{self.scenario.name} by itself: {status} {fault} {(self.directory / 'err').read_text()}"
            )
        return seconds


@dataclass(slots=True, kw_only=True)
class Bout:
    """A directory in which a run is struck."""

    scenario: Scenario
    extent: Extent
    directory: Path

    @property
    def work(self) -> Path:
        """Where it runs."""
        return self.directory / "work"

    @property
    def temporary(self) -> Path:
        """Its TMPDIR."""
        return self.directory / "tmp"

    @property
    def begun(self) -> Path:
        """There once a fork is at the command."""
        return self.directory / "begun"

    def struck(self, chance: random.Random, sent: signal.Signals) -> dict[str, Any]:
        """Begin the run, send it the signal at a moment, and wait for its end: its code and its words."""
        form = chance.choice(FORMS)
        share = chance.random()
        group = sent != signal.SIGKILL and chance.random() < 0.5
        sure = True
        if form == "operation":
            process = self.forked(partial(_strike, int(share * self.extent.fork[0]), sent))
        else:
            limit = self.extent.process if form == "process" else self.extent.fork[1]
            process = self.started() if form == "process" else self.forked()
            sure = _send(process, sent, share * limit, group)
        status, hung = _ended(process)
        code = os.waitstatus_to_exitcode(status)
        words = (self.directory / "err").read_text(errors="replace")
        hit = sure and (sent != signal.SIGKILL or code == -sent)
        return {
            "form": form,
            "share": round(share, 4),
            "code": code,
            "words": words,
            "hit": hit,
            "hung": hung,
            "left": _orphans(process),
        }

    def next(self) -> str:
        """The run after it: what is wrong with how it ends, or with what lies there then."""
        process = self.forked()
        status, hung = _ended(process)
        code = os.waitstatus_to_exitcode(status)
        if code or hung:
            return f"the next run ends with {code}: {(self.directory / 'err').read_text()[-1500:]}"
        if fault := self.scenario.whole(self.work):
            return f"after the next run {fault}"
        left = self.scenario.left(self.work, self.temporary)
        return f"left after the next run: {', '.join(left)}" if left else ""

    def forked(self, within: Callable[[Callable[[], int]], int] = lambda run: run()) -> int:
        """Begin the command in a fork.

        Args:
            within: calls it there.
        """

        def work() -> int:
            os.setsid()
            os.chdir(self.work)
            interrupts.listen()
            self.begun.touch()
            return within(lambda: edgepress_main(*self.scenario.command))

        self.begun.unlink(missing_ok=True)
        process = fork(work, self.directory)
        while not self.begun.exists():
            time.sleep(0.001)
        return process

    def started(self) -> int:
        """Begin the command as a shell does."""
        self.temporary.mkdir(exist_ok=True)
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        with (self.directory / "err").open("w") as err, (self.directory / "out.txt").open("w") as out:
            words = [str(EDGEPRESS), *self.scenario.command]
            options = {"cwd": self.work, "env": environment, "stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
            return subprocess.Popen(words, start_new_session=True, **options).pid


def run_kills(seeds: Iterable[int], results: Path, names: Sequence[str] = ()) -> None:
    """Some kills in each directory, which leave the old or the new one, and then a run that leaves nothing else."""
    with scratch_directory() as scratch:
        struck("kills", seeds, results, Sound(scratch / "sound", edgepress), names)


def run_interrupts(seeds: Iterable[int], results: Path, names: Sequence[str] = ()) -> None:
    """One interrupt, which leaves nothing at all beside the old or the new one, and then a run."""
    with scratch_directory() as scratch:
        struck("interrupts", seeds, results, Sound(scratch / "sound", edgepress), names)


def struck(what: str, seeds: Iterable[int], results: Path, sound: Sound, names: Sequence[str]) -> None:
    """Append a line for each seed that has none."""
    done, scratch = known(results), sound.root.parent
    kinds = scenarios(sound, names)
    extents = {kind.name: Extent(kind, scratch / "extent") for kind in kinds}
    with results.open("a") as out:
        for seed in seeds:
            if seed not in done:
                out.write(json.dumps({"seed": seed, "what": what, **bout(kinds, extents, seed, scratch, what)}) + "\n")
                out.flush()


def bout(
    kinds: Sequence[Scenario], extents: Mapping[str, Extent], seed: int, scratch: Path, what: str
) -> dict[str, Any]:
    """Strikes in one directory and the next run: how each ended, and the first fault that was found, else ""."""
    chance = random.Random(seed)
    (kind,) = chance.choices(kinds, [one.share for one in kinds])
    directory = scratch / f"bout{seed}"
    shutil.copytree(kind.before, directory / "work", symlinks=True)
    one = Bout(scenario=kind, extent=extents[kind.name], directory=directory)
    strikes: list[dict[str, Any]] = []
    fault = ""
    for _ in range(chance.randint(1, MOST_KILLS) if what == "kills" else 1):
        sent = signal.SIGKILL if what == "kills" else chance.choice(INTERRUPTS)
        found = one.struck(chance, sent)
        words = found.pop("words")
        found["early"] = sent != signal.SIGKILL and _early(found, words)
        strikes.append({"signal": sent.name, **found})
        if fault := _fault(one, found, words, sent):
            break
    fault = fault or one.next()
    if not fault:  # else it is kept, to be looked at while the script runs
        shutil.rmtree(directory, ignore_errors=True)
    return {"scenario": kind.name, "strikes": strikes, "fault": fault}


def _fault(one: Bout, struck: Mapping[str, Any], words: str, sent: signal.Signals) -> str:
    """What is wrong after a strike."""
    if struck["hung"]:
        return "it hangs"
    if struck["left"]:
        return f"processes live on: {struck['left']}"
    if fault := one.scenario.whole(one.work):
        return fault
    if sent == signal.SIGKILL:
        return "" if struck["code"] in (0, -sent) else f"code {struck['code']}: {words[-1500:]}"
    if left := one.scenario.left(one.work, one.temporary):
        return f"left: {', '.join(left)}"
    return "" if struck["early"] else _told(struck, words, sent)


def _told(struck: Mapping[str, Any], words: str, sent: signal.Signals) -> str:
    """Code and words of an interrupt: ours, or those of work that is done."""
    code, said = struck["code"], words.strip()
    ours = code == 128 + sent and said == SAID
    return "" if ours or (code == 0 and not said) else f"code {code}: {words[-1500:]}"


def _early(struck: Mapping[str, Any], words: str) -> bool:
    """Whether Python or the kernel ended it, before the first line of `main`."""
    killed = struck["code"] < 0 and not words.strip()
    return struck["form"] == "process" and (killed or ("KeyboardInterrupt" in words and ", in main\n" not in words))


def _strike(number: int, sent: signal.Signals, run: Callable[[], int]) -> int:
    strike(number, sent, os.getpid())
    return run()


def _counted(directory: Path, run: Callable[[], int]) -> int:
    """Leaves the number of its file operations there."""
    count, own = 0, os.getpid()

    def called(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        count += os.getpid() == own

    on_operations(called)
    code = run()
    said = count
    (directory / "operations").write_text(str(said))
    return code


def _send(process: int, sent: signal.Signals, seconds: float, group: bool) -> bool:
    """Whether it was still running when the time came, and so got the signal."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
        time.sleep(min(left, 0.01))
    if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
        return False
    with suppress(ProcessLookupError, PermissionError):
        if group and os.getsid(process) == process:
            os.killpg(process, sent)
        else:
            os.kill(process, sent)
    return True


def _ended(process: int) -> tuple[int, bool]:
    """Its status, and whether it had to be killed because it did not end."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return status, False
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1], True


def _orphans(session: int) -> list[str]:
    """What of its session still lives a while after it."""
    end = time.monotonic() + 10
    while (found := _of_session(session)) and time.monotonic() < end:
        time.sleep(0.05)
    for number, _ in found:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return [words for _, words in found]


def _of_session(session: int) -> list[tuple[int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append((int(entry.name), (entry / "cmdline").read_text().replace("\0", " ")[:200]))
    return found
