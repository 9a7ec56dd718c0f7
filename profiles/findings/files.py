"""Reading the JSON files that edgepress writes: each says its kind and its schema."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import to_json

from ...errors import InputError
from ..reading import json_file
from ..reading.validator import first_fault, value_of

T = TypeVar("T")


def jsonable(value: object) -> Any:
    """As values that JSON has; what none of its numbers can be, the SQNR of equal outputs, is the text `Infinity`.

    (pydantic's `to_jsonable_python` leaves such a float as it is, whatever it is told.)
    """
    return json.loads(to_json(value, inf_nan_mode="strings"))


def json_text(value: object) -> str:
    """As JSON, indented, in its own order."""
    return json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path, made_by: str, most: int = json_file.MOST) -> Any:
    """The data of a file.

    Args:
        made_by: the command that writes such a file.
        most: bytes that it may have.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    if not os.path.lexists(path):
        raise InputError(f"{path} does not exist.", hint=f"`{made_by}` writes it.")
    return json_file.read_json(path, hint=f"Write it anew with `{made_by}`.", most=most)


def parsed(path: Path, data: Any, schema: int, kind: type[T], *, oldest: int | None = None) -> T:
    """The value in the data of a file.

    Args:
        schema: that is written today.
        oldest: that is still read; None is the same.

    Raises:
        InputError: the file has another schema, or something in it is not as the schema says.
    """
    least, given = schema if oldest is None else oldest, data.get("schema") if isinstance(data, dict) else None
    if given not in range(least, schema + 1):
        hint = "Write it anew with this edgepress, or read it with the one that wrote it."
        reads = f"{schema}" if least == schema else f"{least} to {schema}"
        raise InputError(f"{path} has schema {given!r}; this edgepress reads {reads}.", hint=hint)
    try:
        return value_of(kind, data)
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}.") from error
