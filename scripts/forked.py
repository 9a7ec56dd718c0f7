"""Work in forks of one process that has imported everything, each watched for time and memory."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A hang: seconds of computing, or of being silent on a machine that may be busy with other things.
COMPUTING, WAITING = 60, 240
MEMORY_MB = 2048
UNCAUGHT = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to do in a process and a directory of its own; `record` says what it is."""

    record: dict[str, Any]
    directory: Path
    work: Callable[[], int]


@dataclass(slots=True, kw_only=True)
class Running:
    """The process of one job."""

    job: Job
    process: int
    begun: float = field(default_factory=time.monotonic)
    peak_mb: float = 0.0
    killed: str | None = None

    def watch(self) -> None:
        """Kill it where it takes too much."""
        self.peak_mb = max(self.peak_mb, _resident_mb(self.process))
        if self.peak_mb > MEMORY_MB:
            self._kill("memory")
        elif _cpu_seconds(self.process) > COMPUTING or time.monotonic() - self.begun > WAITING:
            self._kill("hang")

    def _kill(self, why: str) -> None:
        if self.killed is None:
            self.killed = why
            os.kill(self.process, signal.SIGKILL)

    def outcome(self, status: int) -> dict[str, Any]:
        """What became of it: `ended` is None where it ended by itself, with `code` and the last it said."""
        code = os.waitstatus_to_exitcode(status)
        words = (self.job.directory / "err").read_text(errors="replace")
        ended = self.killed or ("crash" if code < 0 else None)
        seconds = round(time.monotonic() - self.begun, 1)
        found = {"ended": ended, "code": code, "words": words, "seconds": seconds, "mb": round(self.peak_mb)}
        return {**self.job.record, **found}


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


def outcomes(jobs: Iterator[Job], processes: int) -> Iterator[dict[str, Any]]:
    """The outcome of each job, as they end, so many at a time; its directory is removed."""
    running: list[Running] = []
    while True:
        while len(running) < processes and (job := next(jobs, None)) is not None:
            running.append(Running(job=job, process=fork(job.work, job.directory)))
        if not running:
            return
        time.sleep(0.02)
        for one in list(running):
            one.watch()
            ended, status, _ = os.wait4(one.process, os.WNOHANG)
            if ended:
                running.remove(one)
                yield one.outcome(status)
                shutil.rmtree(one.job.directory, ignore_errors=True)


def edgepress_main(*words: str) -> int:
    """One command line in this process; its exit code."""
    from edgepress.exporter.cli import main

    sys.argv = ["edgepress", *words]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def fork(work: Callable[[], int], directory: Path) -> int:
    """Begin the work in a fork, there, with its words in the files `out.txt` and `err`; returns the process."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    os.chdir(directory)
    Path("tmp").mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(directory / "tmp")
    tempfile.tempdir = None
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out.txt"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    code = UNCAUGHT
    try:
        code = work()
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


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
