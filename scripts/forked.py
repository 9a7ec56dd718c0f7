"""Work in forks of one process that has imported everything, each watched for time and memory."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

# A hang: seconds of computing, or of being silent on a machine that may be busy with other things.
COMPUTING, WAITING = 60, 240
MEMORY_MB = 2048
UNCAUGHT = 70
# The file in which a job leaves its code.
CODE = "code.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to do in a process and a directory of its own; `record` says what it is."""

    record: dict[str, Any]
    directory: Path
    work: Callable[[], int]


@dataclass(slots=True, kw_only=True)
class Running:
    """A process that does jobs one after the other; `done` of them are."""

    jobs: Sequence[Job]
    process: int
    done: int = 0
    begun: float = field(default_factory=time.monotonic)
    computed: float = 0.0
    peak_mb: float = 0.0
    killed: str | None = None

    def watch(self) -> None:
        """Kill it where the job that it is at takes too much, it or the largest process that it started."""
        self.peak_mb = max([self.peak_mb, *map(_resident_mb, family(self.process))])
        if self.peak_mb > MEMORY_MB:
            self._kill("memory")
        elif _cpu_seconds(self.process) - self.computed > COMPUTING or time.monotonic() - self.begun > WAITING:
            self._kill("hang")

    def _kill(self, why: str) -> None:
        if self.killed is None:
            self.killed = why
            os.kill(self.process, signal.SIGKILL)

    def finished(self) -> Iterator[dict[str, Any]]:
        """What became of the jobs that ended by themselves since the last call: `ended` is None, `code` their own."""
        while self.done < len(self.jobs) and (file := self.jobs[self.done].directory / CODE).exists():
            yield self._outcome(None, int(file.read_text()))

    def broken(self, status: int) -> Iterator[dict[str, Any]]:
        """What became of the job that the process ended in, if any."""
        if self.done < len(self.jobs):
            code = os.waitstatus_to_exitcode(status)
            yield self._outcome(self.killed or ("crash" if code < 0 else None), code)

    def _outcome(self, ended: str | None, code: int) -> dict[str, Any]:
        job = self.jobs[self.done]
        words = (job.directory / "err").read_text(errors="replace")
        seconds = round(time.monotonic() - self.begun, 1)
        found = {"ended": ended, "code": code, "words": words, "seconds": seconds, "mb": round(self.peak_mb)}
        self.done, self.begun, self.computed = self.done + 1, time.monotonic(), _cpu_seconds(self.process)
        shutil.rmtree(job.directory, ignore_errors=True)
        return {**job.record, **found}


def prepare(scratch: Path) -> None:
    """Import what every job needs, once; no runtime, whose threads would not survive a fork."""
    import gc
    import pkgutil
    from importlib import import_module

    import onnx
    import onnxscript  # noqa: F401
    import torch.export  # noqa: F401
    from onnx import TensorProto, helper

    import edgepress
    from edgepress.exporter.capture.onnx_to_opset import converted

    for module in pkgutil.walk_packages(edgepress.__path__, "edgepress."):
        import_module(module.name)

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "relu")], "first", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), scratch / "first.onnx")
    converted(scratch / "first.onnx", 17)
    gc.freeze()


def outcomes(jobs: Iterator[Job], processes: int, together: int = 1) -> Iterator[dict[str, Any]]:
    """The outcome of each job, as they end; its directory is removed.

    Args:
        processes: how many work at a time.
        together: jobs that one process does, one after the other; what ends it ends only the job that it is at.
    """
    running: list[Running] = []
    left: list[Job] = []
    while True:
        while len(running) < processes and (group := [*left, *islice(jobs, max(0, together - len(left)))]):
            left = []
            running.append(Running(jobs=group, process=_begin(group)))
        if not running:
            return
        time.sleep(0.02)
        for one in list(running):
            one.watch()
            ended, status, _ = os.wait4(one.process, os.WNOHANG)
            yield from one.finished()
            if ended:
                running.remove(one)
                yield from one.broken(status)
                left += one.jobs[one.done :]


def edgepress_main(*words: str) -> int:
    """One command line in this process; its exit code."""
    from edgepress.exporter.cli import main

    sys.argv = ["edgepress", *words]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def unguarded() -> None:
    """From here on edgepress tries files from elsewhere in this process: what crashes ends it."""
    from edgepress.backends.places import Local
    from edgepress.exporter.capture import example, stage

    stage.Worker = example.Worker = Local  # type: ignore[assignment, misc]


def fork(work: Callable[[], int], directory: Path) -> int:
    """Begin the work in a fork, there, with its words in the files `out.txt` and `err`; returns the process."""
    return _forked(lambda: _done(work, directory))


def _begin(jobs: Sequence[Job]) -> int:
    """Begin jobs in a fork, which leaves the code of each in its directory."""
    return _forked(lambda: [_leave(job, _done(job.work, job.directory)) for job in jobs][-1])


def _leave(job: Job, code: int) -> int:
    whole = job.directory / f"{CODE}.new"
    whole.write_text(str(code))
    whole.rename(job.directory / CODE)
    return 0


def _forked(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os._exit(work())


def _done(work: Callable[[], int], directory: Path) -> int:
    """Do it there, and return its code."""
    os.chdir(directory)
    Path("tmp").mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(directory / "tmp")
    tempfile.tempdir = None
    for number, name in ((1, "out.txt"), (2, "err")):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    code = UNCAUGHT
    try:
        code = work()
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def family(process: int) -> list[int]:
    """The process and all that it started and that they did, as far as they are alive."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        children = []
    return [process, *(one for child in children for one in family(int(child)))]


def _resident_mb(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    said = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(said.get("RssAnon", "0 kB").split()[0]) / 1024


def _cpu_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
