"""What a device is asked, and what it answers."""

import json
import os
import sys
from typing import Tuple

from .processes import run
from .store import Device, Given


def main(given: Given) -> None:
    """Do what was sent: `serve` or `run`."""
    {"serve": serve, "run": run}[given["mode"]](given)


def serve(given: Given) -> None:
    """Read one JSON value a line, each with the bytes that it counts behind it, and answer in the same form."""
    device = Device(os.path.expanduser(given["directory"]))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        while True:
            line = source.readline()
            if not line:
                return
            request = json.loads(line.decode())
            data = source.read(request.pop("bytes", 0))
            answer, back = answered(device, request, data)
            answer["bytes"] = len(back)
            sink.write(json.dumps(answer).encode() + b"\n" + back)
            sink.flush()
    finally:
        device.close()


def answered(device: Device, request: Given, data: bytes) -> Tuple[Given, bytes]:
    """What a method of `Device` returns: a value, or one and bytes."""
    try:
        done = getattr(device, request.pop("do"))(data=data, **request)
    except OSError as error:
        told = {"error": error.strerror or str(error), "number": error.errno, "file": error.filename}
        return dict(told, hint=getattr(error, "hint", "")), b""
    return ({"answer": done[0]}, done[1]) if isinstance(done, tuple) else ({"answer": done}, b"")
