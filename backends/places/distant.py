"""A host on another machine: what its processes work on goes there, and what they write comes back, by its `Files`."""

from __future__ import annotations

import abc
from dataclasses import replace
from pathlib import Path

from ...errors import UnservedError
from ...profiles.findings.report import megabytes
from .._onnxfile import external_files
from ..base import Engine, Graph
from .files import Files
from .host import Host


class Distant(Host):
    """A device that this run has to itself, from the first thing that is written to it on.

    Attributes:
        address: of the device.
        others: what runs there beside, as its user calls it: `programs`, `apps`.
    """

    address: object
    others = "programs"

    def __init__(self) -> None:
        self._numbers: dict[Path, int] = {}

    @property
    @abc.abstractmethod
    def files(self) -> Files:
        """Its files, once this run has the device to itself; it waits for that, and says so."""

    @property
    @abc.abstractmethod
    def free_memory(self) -> int | None:
        """Bytes of memory that are free there; None where it does not say."""

    def send(self, path: Path) -> Path:
        """Bring a file or a directory there, for this run."""
        return Path(self.files.send(path, self._name(path)))

    def there(self, path: Path) -> Path:
        """Where a file or a directory is to be written; a directory that is here is there as well."""
        name = self._name(path)
        return Path(self.files.ready(f"{name}/." if path.is_dir() else name))

    def fetch(self, path: Path) -> None:
        """Bring it from there."""
        self.files.fetch(self._name(path), path)

    def engine(self, engine: Engine) -> Engine:
        """The engine as it is opened there; it is kept there for later runs.

        Raises:
            UnservedError: it is too large.
        """
        directory = engine.path.parent
        self._need_memory(engine.path.name, directory)
        return replace(engine, path=self._kept(directory) / engine.path.name)

    def graph(self, graph: Graph) -> Graph:
        """The graph as it is read there; it is kept there for later runs."""
        for name in external_files(graph.path):
            self._kept(graph.path.parent / name)
        return replace(graph, path=self._kept(graph.path))

    def _kept(self, path: Path) -> Path:
        return Path(self.files.send(path, self._name(path), lasting=True))

    def _name(self, path: Path) -> str:
        """The name of a file there: below a number of its directory, which nobody there has to know."""
        path = path.absolute()
        return f"{self._numbers.setdefault(path.parent, len(self._numbers))}/{path.name}"

    def _need_memory(self, name: str, directory: Path) -> None:
        """Refuse what does not even fit into the memory that is free there."""
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
        free = self.free_memory
        if free is not None and size > free:
            raise UnservedError(
                f"{name} is {megabytes(size)}, and {self.address} has {megabytes(free)} of memory free.",
                hint=f"End other {self.others} there, or export at a lower precision.",
            )
