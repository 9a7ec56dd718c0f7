"""Names of files as text: what reports, manifests and the runtimes' own code can hold is UTF-8."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError


def need_text(name: str | Path) -> None:
    """Refuse a name that is made of other bytes than UTF-8's.

    Raises:
        InputError: naming it.
    """
    try:
        str(name).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} is no UTF-8 text, as names of files have to be: neither reports nor runtimes can hold it.",
            hint="Rename the file or the directory.",
        ) from error
