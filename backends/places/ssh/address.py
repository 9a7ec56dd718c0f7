"""Which machine is meant: `USER@HOST:PORT`, with what else has to be known of it behind a question mark."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from ....errors import InputError

PYTHON, DIRECTORY = "python3", "~/.cache/edgepress"
FORM = "ssh://[USER@]HOST[:PORT]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A machine that SSH reaches.

    Attributes:
        host: a name of the user's ssh_config, or of the network.
        user, port: None leaves them to ssh_config.
        python: the command or the path of the Python that runs there.
        directory: where files are kept there; `~` is the user's home there.
    """

    host: str
    user: str | None = None
    port: int | None = None
    python: str = PYTHON
    directory: str = DIRECTORY

    @classmethod
    def parse(cls, rest: str) -> Address:
        """What is behind `ssh://`.

        Raises:
            InputError: no machine, or something that is not known of one.
        """
        parts = urlsplit(f"ssh://{rest}")
        more = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if host:  # as it was typed: names of an ssh_config tell capitals apart
            at = parts.netloc.lower().rindex(host)
            host = parts.netloc[at : at + len(host)]
        wrong = parts.password is not None or parts.path.strip("/") or parts.fragment or more.keys() - {*_MORE}
        if not host or host.startswith("-") or _SHELL.search(parts.netloc) or wrong or not all(more.values()):
            raise InputError(
                f"ssh://{_without_password(rest)} names no machine.",
                hint=f"Give {FORM}, with ?python=COMMAND or ?directory=PATH behind it where they differ.",
            )
        return cls(host=host, user=parts.username, port=port, **more)

    def __str__(self) -> str:
        """The machine alone, for messages."""
        user = "" if self.user is None else f"{self.user}@"
        return f"ssh://{user}{self.host}{'' if self.port is None else f':{self.port}'}"


_MORE = ("python", "directory")
# What a shell reads otherwise than as it stands: an ssh_config may hand user and host to one (`Match exec`).
_SHELL = re.compile(r"""[\s'`"$;&<>|(){}]""")


def _without_password(rest: str) -> str:
    """As it was typed, but for what nobody should read in a log."""
    user, separator, host = rest.rpartition("@")
    return f"{user.partition(':')[0]}{separator}{host}"
