"""A real OpenSSH server on loopback, with keys, a configuration and a home of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

# Where distributions put it, which need not be on a user's path.
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass
class Sshd:
    """One server: its port, what its user's side looks like, and where its device side keeps files."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """Of a command line that reaches it: a home with an ssh_config and known hosts."""
        return {"HOME": str(self.directory / "home"), "SSH_AUTH_SOCK": ""}

    @property
    def device(self) -> Path:
        """Where files of edgepress lie on the device."""
        return self.directory / "device"

    @property
    def address(self) -> str:
        """The device as a user types it: this very Python, so that nothing has to be downloaded."""
        return f"ssh://board?python={sys.executable}&directory={self.device}"

    def new_host_key(self) -> None:
        """Become another machine."""
        self.stop()
        for key in (self.directory / "host_key", self.directory / "host_key.pub"):
            key.unlink()
        _key(self.directory / "host_key")
        self.process = _started(self.directory, self.port)

    def stop(self) -> None:
        """End it and the connections to it."""
        for child in _children(self.process.pid):
            for grandchild in _children(child):
                _kill(grandchild)
            _kill(child)
        self.process.kill()
        self.process.wait()

    def cut(self) -> None:
        """Cut every connection; the server goes on."""
        for child in _children(self.process.pid):
            theirs = _children(child)
            for pid in (child, *theirs):
                _kill(pid)


def start(directory: Path, **environment: str) -> Sshd:
    """Start a server in an empty directory.

    Args:
        environment: of what runs on the device.
    """
    if SSHD is None:
        pytest.skip("needs an OpenSSH server: apt-get install openssh-server")
    home = directory / "home" / ".ssh"
    home.mkdir(parents=True)
    home.chmod(0o700)
    (directory / "tmp").mkdir()
    for key in (directory / "host_key", home / "id_board"):
        _key(key)
    shutil.copy(home / "id_board.pub", directory / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (directory / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host_key\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
        f"PermitRootLogin prohibit-password\nSetEnv TMPDIR={directory}/tmp {_listed(environment)}\n"
    )
    (home / "config").write_text(
        f"Host board\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {home}/id_board\n  IdentitiesOnly yes\n  UserKnownHostsFile {home}/known_hosts\n"
    )
    public = (directory / "host_key.pub").read_text().split()
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    return Sshd(directory=directory, port=port, process=_started(directory, port))


def _started(directory: Path, port: int) -> subprocess.Popen[bytes]:
    assert SSHD is not None
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd goes without privileges
    log = (directory / "log").open("ab")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(directory / "sshd_config")], stdout=log, stderr=log)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        assert process.poll() is None, (directory / "log").read_text()
        time.sleep(0.02)
    raise AssertionError((directory / "log").read_text())


def _listed(environment: Mapping[str, str]) -> str:
    return " ".join(f'{name}="{value}"' for name, value in environment.items())


def _key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def _children(pid: int) -> list[int]:
    """Processes that this one started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        if int(lines["PPid"]) == pid:
            found.append(int(lines["Pid"]))
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
