"""Android's own `adb`, one call at a time: what it is asked, and what its faults mean."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ....errors import UnservedError
from ..host import Piped
from .address import PhoneAddress

# Seconds: until a call is answered, and for each megabyte that goes over a slow line.
_PATIENCE, _EACH_MEGABYTE = 60.0, 2.0
_SETTLING = 10.0  # until a phone that was just connected is ready
_STATES = {
    "unauthorized": ("does not trust this computer", "Unlock it and allow USB debugging, then run this again."),
    "authorizing": ("does not trust this computer yet", "Unlock it and allow USB debugging, then run this again."),
    "offline": ("is offline", "Unplug it and plug it in again, or run: adb reconnect offline"),
    "connecting": ("is not connected yet", "Run the same command again."),
    "recovery": ("is in recovery", "Start Android on it."),
    "sideload": ("is in recovery", "Start Android on it."),
    "bootloader": ("is in its boot loader", "Start Android on it."),
    "no permissions": ("may not be used by this user", "See `adb devices -l`, and add the udev rule that it names."),
}
_END = "@edgepress-end"
_FULL = "No space left on device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command there said, and the status that it ended with."""

    code: int
    out: str
    err: str


class Client:
    """One phone, by adb.

    Attributes:
        serial: as adb knows it.
        address: of the phone, with its serial number.
    """

    def __init__(self, address: PhoneAddress) -> None:
        """Find the phone.

        Raises:
            UnservedError: there is no adb, or it does not reach the phone.
        """
        self._adb = _found_adb(address)
        self.serial = address.serial or os.environ.get("ANDROID_SERIAL", "")
        self.serial = self._found()
        self.address = replace(address, serial=self.serial)

    def shell(self, command: str, patience: float = _PATIENCE) -> Said:
        """Run a command there.

        Args:
            command: as a shell there reads it.

        Raises:
            UnservedError: nobody answers, or the phone is not there any more.
        """
        # Where the connection is cut adb ends as if all were well: only what says that it came to its end did.
        done = self._run(["shell", "-n", f"({command}); echo {_END} $?"], patience)
        out, end, code = done.out.rpartition(f"{_END} ")
        if not end or not code.strip().isdigit():
            raise self.lost()
        return Said(code=int(code), out=out, err=done.err)

    def waiting_shell(self, command: str) -> subprocess.Popen[str]:
        """A command there that goes on until its standard input ends."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [self._adb, "-s", self.serial, "shell", command], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def push(self, here: Path, there: str) -> None:
        """Write a file there.

        Raises:
            ThereError: the disk there is full, by its number; or the file cannot be written.
            UnservedError: the phone is not there any more.
        """
        self._moved(["push", str(here), there], here.stat().st_size, there)

    def pull(self, there: str, here: Path, size: int) -> None:
        """Read a file there.

        Raises:
            ThereError: it cannot be read.
            UnservedError: the phone is not there any more.
        """
        self._moved(["pull", there, str(here)], size, there)

    def _moved(self, words: Sequence[str], size: int, there: str) -> None:
        done = self._run(words, _PATIENCE + _EACH_MEGABYTE * size / 1e6)
        if not done.code:
            return
        # What the phone itself says of a file has this word before it; all else is said of the way there.
        if found := re.search(r": remote (.*)", f"{done.err}\n{done.out}"):
            raise file_error(found[1], there)
        raise self.lost()

    def start(self, command: str) -> Piped:
        """Start a process there, whose streams are those of the channel."""
        return Piped([self._adb, "-s", self.serial, "shell", command])

    def _found(self) -> str:
        """The serial number of the phone that is meant."""
        wanted, states = self.serial, self._states()
        if not wanted:
            return self._only(states)
        if wanted not in states and ":" in wanted:
            self._run(["connect", wanted], _PATIENCE)
        states = self._settled(wanted)
        if (state := states.get(wanted)) is None:
            raise UnservedError(f"adb finds no device {wanted}: it has {_listed(states)}.", hint=_PLUG)
        if state != "device":
            raise self._not_ready(state)
        return wanted

    def _only(self, states: dict[str, str]) -> str:
        if not states:
            raise UnservedError("adb finds no device.", hint=_PLUG)
        if len(states) > 1:
            raise UnservedError(
                f"adb finds {len(states)} devices: {_listed(states)}.",
                hint=f"Say which one, as in adb://{next(iter(states))}.",
            )
        [self.serial] = states
        if (state := self._settled(self.serial).get(self.serial, "")) != "device":
            raise self._not_ready(state)
        return self.serial

    def _settled(self, serial: str) -> dict[str, str]:
        """The states once this one is ready, or will not be."""
        end = time.monotonic() + _SETTLING
        while True:
            states = self._states()
            if states.get(serial, "device") not in ("offline", "connecting", "authorizing") or time.monotonic() > end:
                return states
            time.sleep(0.1)

    def _states(self) -> dict[str, str]:
        """The state of each device, by serial number."""
        done = self._run(["devices"], _PATIENCE, of_device=False)
        if done.code:
            last = (done.err or done.out).strip().splitlines()[-1:] or ["it says nothing"]
            raise UnservedError(f"adb does not run: {last[0]}.", hint="See whether `adb devices` works.")
        pairs = (line.split("\t", 1) for line in done.out.splitlines() if "\t" in line)
        return {serial.strip(): state.strip() for serial, state in pairs}

    def _not_ready(self, state: str) -> UnservedError:
        key = next((key for key in _STATES if state.startswith(key)), "")
        what, hint = _STATES.get(key, (f"is in the state `{state}`", "See `adb devices`."))
        return UnservedError(f"{self._named()} {what}.", hint=hint)

    def _named(self) -> str:
        return f"adb://{self.serial}"

    def silent(self, seconds: float) -> UnservedError:
        """The error where nobody answered."""
        return UnservedError(
            f"{self._named()} gave no answer for {seconds:.0f} s.",
            hint="Look after the phone, and run the same command again: what was copied is kept there.",
        )

    def lost(self) -> UnservedError:
        """The error where the connection was cut; adb itself may have made a new one since."""
        return UnservedError(
            f"The connection to {self._named()} was lost.",
            hint="Connect it and run the same command again: what was copied is kept there, and it goes on from there.",
        )

    def _run(self, words: Sequence[str], patience: float, *, of_device: bool = True) -> Said:
        chosen = ["-s", self.serial] if of_device and words[0] != "connect" else []
        try:
            done = subprocess.run(
                [self._adb, *chosen, *words],
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=patience,
            )
        except subprocess.TimeoutExpired as error:
            raise self.silent(patience) from error
        return Said(code=done.returncode, out=done.stdout, err=done.stderr)


_PLUG = "Plug it in with USB debugging allowed, or connect it by `adb connect HOST:PORT`, and see `adb devices`."


class ThereError(OSError):
    """The error of a file on a phone, which no error of a file here is taken for."""


def file_error(said: str, there: str) -> ThereError:
    """The error of a file there, by what a command said; a full disk has its number."""
    if _FULL in said:
        return ThereError(errno.ENOSPC, _FULL, there)
    last = said.splitlines()[-1:] or ["it says nothing"]
    return ThereError(errno.EIO, last[0].removeprefix("adb: error: "), there)


def _listed(states: dict[str, str]) -> str:
    return ", ".join(f"{serial} ({state})" for serial, state in states.items()) or "none"


def _found_adb(address: PhoneAddress) -> str:
    homes = [os.environ.get(name, "") for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    beside = os.pathsep.join(str(Path(home, "platform-tools")) for home in homes if home)
    found = shutil.which("adb") or (shutil.which("adb", path=beside) if beside else None)
    if found is None:
        raise UnservedError(
            f"Reaching {address} needs adb, which is not on the path.",
            hint="Install Android's platform tools (Debian: sudo apt-get install adb), or set ANDROID_HOME.",
        )
    return found
