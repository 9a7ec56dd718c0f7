"""A device that is connected: what it is, what it lacks, and the processes that run there."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ....profiles.findings.report import megabytes
from ....profiles.machine.fresh import module_command
from ....profiles.machine.held import temporary
from ....profiles.machine.user_cache import user_cache
from ....profiles.reading.hashed import sha256
from ..._vendor import CHILD
from ...base import Backend
from ..distant import Distant
from ..files import Files
from ..host import MODULE, Channel
from ..job import FEED, Job
from ..remote import Remote
from .address import Address
from .asking import Helper
from .channel import SshChannel
from .link import Link
from .luggage import Python, downloaded, lacking, own_wheel, required
from .plugin import plugin_needs, plugin_of, plugin_wheel

OLDEST = (3, 10)
ONBOARD = (3, 6)  # that a program of a backend's own needs
_log = logging.getLogger(__name__)


class DeviceHost(Distant):
    """A device that SSH reaches. What is asked of it before it is locked, is asked without writing anything."""

    address: Address

    def __init__(self, address: Address) -> None:
        super().__init__()
        self.address = address
        self._path: list[str] = []
        self._program: Path | None = None

    @cached_property
    def link(self) -> Link:
        """The connection.

        Raises:
            UnservedError: there is none.
        """
        return Link(self.address)

    @cached_property
    def _helper(self) -> Helper:
        return Helper(self.link)

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """The machine, as `helper.store.Device.about` says it."""
        found: dict[str, Any] = self._helper.ask("about")
        return found

    @cached_property
    def python(self) -> Python:
        """Its Python."""
        found = self.about
        return Python(
            version=(found["python"][0], found["python"][1]),
            arch=found["arch"],
            libc=(found["libc"][0], found["libc"][1]),
            packages={name: (version, tuple(needs)) for name, (version, needs) in found["packages"].items()},
            markers=found["markers"],
        )

    @cached_property
    def files(self) -> Files:
        """Its files, once this run has the device to itself; it waits for that, and says so."""
        if not self._helper.ask("lock"):
            _log.warning("%s works for somebody else; waiting.", self.address)
            while not self._helper.ask("lock"):
                pass
        return Files(self._helper)

    @property
    def free_memory(self) -> int | None:
        """Of that machine."""
        found: int | None = self.about["memory"]
        return found

    def version(self, package: str) -> str:
        """Of a package of its own Python; empty where it has none."""
        found = {_canonical(name): version for name, (version, _) in self.python.packages.items()}
        return found.get(_canonical(package), "")

    def equip(self, backend: Backend) -> None:
        """Let processes there find this edgepress and what a backend needs; its own packages are taken where they do.

        Raises:
            UnservedError: it lacks some that cannot be had, or there is no room for them.
        """
        plugin = plugin_of(backend.name)
        if plugin is None:
            wanted = required(backend.packages, brought=not backend.finishes_on_device)
        else:
            wanted = (*required((), brought=True), *plugin_needs(plugin))
        missing = lacking(self.python, wanted)
        with temporary() as scratch:
            cache = (user_cache("edgepress") or scratch) / "wheels"
            along = [own_wheel(scratch), *([] if plugin is None else [plugin_wheel(plugin, scratch)])]
            wheels = [*along, *downloaded(self.python, missing, cache, str(self.address))]
            self._stand_on([path for path in self._unpacked(wheels) if path not in self._path])

    def _stand_on(self, paths: list[str]) -> None:
        """More for the processes that start from now on; the attendant is one of them."""
        self._path += paths
        if paths and (attendant := self.__dict__.pop("attendant", None)) is not None:
            attendant.close()

    @property
    def bare(self) -> bool:
        """Its Python is too old for edgepress: a program of a backend's own runs there in its place."""
        return self.python.version < OLDEST

    def board(self, program: str) -> None:
        """Let processes there be this program, in place of edgepress."""
        with temporary() as scratch:
            (file := scratch / "onboard.py").write_text(program, encoding="utf-8")
            self._program = self.send(file)

    def _unpacked(self, wheels: list[Path]) -> list[str]:
        """Where they are unpacked there."""
        digests = [sha256(wheel) for wheel in wheels]
        pairs = zip(wheels, digests, self.files.helper.ask("unpacked", digests=digests), strict=True)
        lacked = [(wheel, digest) for wheel, digest, there in pairs if there is None]
        self.files.keep(lacked)
        for _, digest in lacked:
            self.files.helper.ask("unpack", digest=digest)
        if lacked:
            names = ", ".join("-".join(wheel.name.split("-")[:2]) for wheel, _ in lacked)
            _log.info("%s: brought %s; what else it needs is its own.", self.address, names)
        found: list[str] = self.files.helper.ask("unpacked", digests=digests)
        return found

    @cached_property
    def attendant(self) -> Remote:
        """A process there that has no engine, and tells of the machine; `equip` comes first."""
        with temporary() as scratch:
            return Remote(Job(engine=None).save(scratch), str(self.address), host=self).ready()

    def cores(self, count: int) -> tuple[int, ...]:
        """The last ones of that machine."""
        return tuple(self.attendant.ask("cores", count=count))

    def start(self, job: Path) -> Channel:
        """Start a child there."""
        there = self.send(job)
        if (feed := job.with_name(FEED)).exists():
            self.send(feed)
        own = None if self._program is None else [str(self._program), "--serve", str(there)]
        command = [self.address.python, *(own or module_command(MODULE, str(there))[1:])]
        return SshChannel(self.link, {"command": command, "environment": {CHILD: "1"}, "path": self._path})

    def __str__(self) -> str:
        """What is known of it, for people."""
        found = self.about
        version = ".".join(map(str, found["python"]))
        words = [found["arch"], f"Python {version}", f"{megabytes(found['free'])} of disk free", found["jetpack"]]
        if found["memory"] is not None:
            words.append(f"{megabytes(found['memory'])} of memory free")
        return f"{self.address}: {', '.join(filter(None, [*words, found['power_mode']]))}"

    def close(self) -> None:
        """Give the device back; what runs there for this run ends."""
        if "link" in self.__dict__:
            self.link.close()
        for name in ("link", "_helper", "about", "python", "files", "attendant"):
            self.__dict__.pop(name, None)
        self._path.clear()
        self._program = None


def _canonical(package: str) -> str:
    """The name of a package as they compare, by PEP 503."""
    return re.sub(r"[-_.]+", "-", package).lower()
