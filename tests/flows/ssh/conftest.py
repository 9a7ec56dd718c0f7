"""A device over a real OpenSSH server on loopback, and a bundle for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgepress
from edgepress.backends.places import place_at
from edgepress.backends.places.ssh.place import Ssh
from edgepress.profiles.device.target import Target

from .. import _sshd
from .._flow import SMALL, Cli
from .._sshd import Sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    started = _sshd.start(tmp_path_factory.mktemp("sshd"))
    yield started
    started.stop()


@pytest.fixture
def board(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the device, for this process; given back at the end."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server.address
    place_at(server.address).close()


@pytest.fixture
def place(board: str) -> Iterator[Ssh]:
    """The device, connected anew and given back at the end."""
    found = Ssh.at(board.removeprefix("ssh://"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def made(forked: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small int8 bundle for onnxruntime, with the float graph that a device measures it against."""
    directory = tmp_path_factory.mktemp("small")
    (directory / "small.py").write_text(SMALL)
    words = ("export", "small.py", "-t", "server-cpu", "--no-measure", "-q", "-o", "out")
    ran = forked(*words, cwd=directory, temporary=directory.with_name("temporary"))
    assert ran.code == 0, ran.err
    return directory / "out" / "small-server-cpu"


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "small"))


@pytest.fixture
def target(bundle: Path) -> Target:
    return edgepress.load_bundle(bundle).manifest.target
