"""A process that a device runs, and that ends with its caller."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import time

from .store import BLOCK, Given


def run(given: Given) -> None:
    """Start a process; its number and the time go ahead of what it writes."""

    def begun() -> None:
        said = {"pid": os.getpid(), "spawned": int(time.monotonic() * 1e9)}
        os.write(1, json.dumps(said).encode() + b"\n")

    environment = dict(os.environ)
    environment.update(given["environment"])
    own = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join(given["path"] + ([own] if own else []))
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            given["command"],
            stdin=subprocess.PIPE,
            stderr=errors,
            env=environment,
            preexec_fn=begun,
            start_new_session=True,
        )
        feeding = threading.Thread(target=feed, args=(child,))
        feeding.daemon = True
        feeding.start()
        code = child.wait()
        errors.seek(max(0, os.fstat(errors.fileno()).st_size - 4096))
        os.write(2, errors.read())
    os._exit(code if code >= 0 else 128 - code)


def feed(child: "subprocess.Popen[bytes]") -> None:
    """Hand on what the caller writes; where there is no caller any more, the process ends whatever it is at."""
    assert child.stdin is not None
    try:
        for block in iter(lambda: os.read(0, BLOCK), b""):
            child.stdin.write(block)
            child.stdin.flush()
    except (OSError, ValueError):
        pass  # it ended by itself
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass
