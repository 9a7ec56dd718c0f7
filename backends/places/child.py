"""A process that opens one engine and answers for it: `python -m edgepress.backends.places.child JOB`.

It writes one JSON value a line on standard output: first what happened and when (`started`, `imported`, `opened`, and
`first` where it was given an input), then one answer to each request that it reads on standard input. What a runtime
prints goes to standard error. Times are those of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...errors import EdgepressError
    from .serve import Server


def main() -> None:
    """Serve the job named on the command line until standard input ends."""
    started = time.monotonic_ns()
    # Nothing but this module may write where answers are expected.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _bind(sys.argv[1])
    from ...errors import EdgepressError

    try:
        _tell(answers, {"event": "started", "at": started})
        server = _open(lambda event: _tell(answers, {"event": event, "at": time.monotonic_ns()}))
    except EdgepressError as error:
        _tell(answers, _told(error))
        sys.exit(error.exit_code)
    for line in sys.stdin:
        _tell(answers, _answered(server, json.loads(line)))


def _answered(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """The answer, or what is wrong with the request; the engine is there for the next one."""
    from ...errors import EdgepressError

    try:
        return {"answer": server.answer(request.pop("do"), request)}
    except EdgepressError as error:
        return _told(error)
    except OSError as error:  # a full disk is no fault of what it works on
        return {"error": error.strerror, "number": error.errno, "file": error.filename, "kind": "OSError"}


def _told(error: EdgepressError) -> dict[str, Any]:
    return {"error": error.message, "hint": error.hint, "kind": type(error).__name__}


def _bind(job: str) -> None:
    """Bind the process to its cores before anything starts a thread."""
    with open(job, encoding="utf-8") as file:
        cores = json.load(file)["affinity"]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _open(say: Callable[[str], None]) -> Server:
    from pathlib import Path

    from ...profiles.machine.memory import resident
    from .job import load_job
    from .machine_serve import MachineServer
    from .serve import Server
    from .text_serve import LogitsServer, TextServer

    job, feed = load_job(Path(sys.argv[1]))
    before, _ = resident()
    server: Server
    if job.engine is None:
        server = MachineServer(job, feed, before)
    elif job.decoder or job.logits:
        server = (TextServer if job.decoder else LogitsServer)(job, before)
    else:
        server = Server(job, feed, before)
    if job.engine is not None:
        _import_runtime(job.engine.backend)
        say("imported")
        server.open()
        say("opened")
    if feed is not None:
        server.call()
        say("first")
    say("ready")
    return server


def _import_runtime(backend: str) -> None:
    """Import the runtime apart, so that the time of opening is that of loading and compiling."""
    from importlib import import_module
    from importlib.util import find_spec

    from ..registry import load_backend

    for name in load_backend(backend).modules:
        if find_spec(name) is not None:
            import_module(name)


def _tell(answers: IO[str], value: Any) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
