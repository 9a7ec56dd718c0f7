"""The way to a device: one SSH connection of which each channel runs the helper once.

fabric reads the user's ssh_config. A host key must be known: one that nobody has confirmed is not taken, whatever
ssh_config says, since measurements and engines would come from a machine that nobody knows.
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import InputError, UnservedError
from .address import Address
from .helper.source import joined

if TYPE_CHECKING:
    from fabric import Connection
    from paramiko import Channel

# Seconds until a machine has taken a connection, and between two signs of life.
_CONNECT, _ALIVE = 15, 15
_SETTLING = 2.0  # seconds until a cut connection is known for one
# It runs what comes first on its standard input, byte by byte, so that the rest is there for whom it starts.
_BOOT = (
    "import sys,json;d=json.loads(sys.stdin.buffer.raw.readline().decode());n=dict(__name__=d['mode']);"
    "exec(d['source'],n);n['main'](d)"
)


class Link:
    """An open connection."""

    def __init__(self, address: Address) -> None:
        """Connect.

        Raises:
            InputError: the user's ssh_config is at fault.
            UnservedError: there is no way to it, it is another machine than is known, or it does not let the user in.
        """
        self.address = address
        self._connection = _connected(address)

    @property
    def alive(self) -> bool:
        """Whether the connection is there, asked where something on it has ended: a cut shows on a channel first."""
        transport = self._connection.transport
        if transport is None:
            return False
        transport.join(_SETTLING)
        return bool(transport.is_active())

    def start(self, mode: str, given: Mapping[str, Any]) -> Channel:
        """Run the helper.

        Args:
            mode: `serve` or `run`.
            given: what it is told; `helper.serving` says what each mode reads of it.

        Raises:
            UnservedError: the connection is lost.
        """
        from paramiko import SSHException

        line = json.dumps({"mode": mode, "source": joined(), **given}).encode() + b"\n"
        try:
            transport = self._connection.transport
            if transport is None:
                raise self.lost()
            channel = transport.open_session(timeout=_CONNECT)
            # The one place where a shell there reads something: a fixed text, and the name of a program.
            channel.exec_command(f"{shlex.quote(self.address.python)} -c {shlex.quote(_BOOT)}")
            channel.sendall(line)
        except (SSHException, OSError, EOFError) as error:
            raise self.lost() from error
        return channel

    def lost(self) -> UnservedError:
        """The error where the connection was cut."""
        return UnservedError(
            f"The connection to {self.address} was lost.",
            hint="Run the same command again: what was copied is kept there, and it goes on from there.",
        )

    def close(self) -> None:
        """Cut it; what runs there on behalf of it ends."""
        self._connection.close()


def _connected(address: Address) -> Connection:
    """An open connection."""
    try:
        from fabric import Connection
        from paramiko import ConfigParseError, SSHException
    except ImportError as error:
        raise UnservedError(
            f"Reaching {address} needs fabric, which this installation does not have.",
            hint="Install it: pip install 'edgepress[ssh]'",
        ) from error
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what it logs is said below
    try:
        connection = Connection(address.host, user=address.user, port=address.port, connect_timeout=_CONNECT)
    except ConfigParseError as error:
        raise InputError(f"Your ssh_config cannot be read: {error}.", hint="`ssh -G HOST` shows where.") from error
    try:
        _know_hosts(connection)
        connection.open()
        transport = connection.transport
        assert transport is not None
        transport.set_keepalive(_ALIVE)
    except (SSHException, OSError, EOFError) as error:
        connection.close()
        raise _unreached(address, error) from error
    return connection


def _know_hosts(connection: Connection) -> None:
    """Take the keys of the files that ssh would read, and no others."""
    from paramiko import RejectPolicy

    config = connection.ssh_config
    own = config.get("userknownhostsfile") or "~/.ssh/known_hosts"
    common = config.get("globalknownhostsfile") or "/etc/ssh/ssh_known_hosts"
    for name in f"{own} {common}".split():
        file = Path(name).expanduser()
        if file.is_file():
            connection.client.load_system_host_keys(str(file))
    connection.client.set_missing_host_key_policy(RejectPolicy())
    if isinstance(connection.gateway, type(connection)):  # ProxyJump: a machine of its own
        _know_hosts(connection.gateway)


def _unreached(address: Address, error: Exception) -> UnservedError:
    """Why there is no way to a machine, and what to do about it."""
    import socket

    from paramiko import AuthenticationException, BadHostKeyException
    from paramiko.ssh_exception import NoValidConnectionsError

    if isinstance(error, BadHostKeyException):
        return UnservedError(
            f"{address} is not the machine it was: its host key is another one than your known_hosts has. Nothing was "
            "sent to it.",
            hint="If it was set up anew, remove the old key with `ssh-keygen -R HOST`, connect once with ssh, and "
            "compare fingerprints. If not, do not connect.",
        )
    if isinstance(error, AuthenticationException):
        return UnservedError(
            f"{address} does not let you in: {_told(error)}.",
            hint="Try `ssh HOST true`: it must work without a password, by a key of ssh-agent or of your ssh_config.",
        )
    if "not found in known_hosts" in str(error):
        return UnservedError(
            f"The host key of {address} is not in your known_hosts. Nothing was sent to it.",
            hint="Connect once with ssh, compare the fingerprint, and run this again.",
        )
    if isinstance(error, NoValidConnectionsError):
        why = "nothing takes connections there"
    elif isinstance(error, socket.gaierror):
        why = "no machine has this name"
    else:
        why = _told(error)
    return UnservedError(f"{address} cannot be reached: {why}.", hint="Try `ssh HOST true`.")


def _told(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
