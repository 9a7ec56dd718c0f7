"""What asks a command to end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

ASKED = """
import os, signal
from edgepress.profiles.machine import interrupts

{before}
interrupts.listen()
try:
    os.kill(os.getpid(), signal.{name})
    print("goes on", interrupts.heard())
except KeyboardInterrupt:
    print("interrupted", interrupts.heard())
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_each_signal_interrupts(name: str) -> None:
    assert said(ASKED.format(before="signal.signal(signal.SIGINT, signal.default_int_handler)", name=name)) == (
        f"interrupted {signal.Signals[name]:d}"
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_one_that_is_ignored_stays_so(name: str) -> None:
    """As under nohup, or for a job that a shell put in the background."""
    assert said(ASKED.format(before=f"signal.signal(signal.{name}, signal.SIG_IGN)", name=name)) == "goes on 0"


def said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_one_that_python_drops_comes_again() -> None:
    code = """
import os, signal, time, weakref
from edgepress.profiles.machine import interrupts

class Thing:
    pass

interrupts.listen()
thing = Thing()
kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
try:
    del thing
    for _ in range(100):
        time.sleep(0.05)
    print("lost")
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_one_that_python_drops_in_another_thread_is_told_as_python_tells_it() -> None:
    """A timer can be set there, a handler cannot."""
    code = """
import os, signal, threading
from edgepress.profiles.machine import interrupts

class Thing:
    def __del__(self):
        raise KeyboardInterrupt

interrupts.listen()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    pass
thread = threading.Thread(target=lambda: Thing() and None)
thread.start()
thread.join()
print("goes on", signal.getitimer(signal.ITIMER_REAL))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "goes on (0.0, 0.0)\n"
    assert "ValueError" not in done.stderr
    assert "KeyboardInterrupt" in done.stderr


def test_a_second_one_does_not_disturb_what_the_first_one_began() -> None:
    code = """
import os, signal
from edgepress.profiles.machine import interrupts

interrupts.listen()
try:
    os.kill(os.getpid(), signal.SIGHUP)
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGTERM)
    print("cleaned up", interrupts.heard())
"""
    assert said(code) == f"cleaned up {signal.SIGHUP:d}"
