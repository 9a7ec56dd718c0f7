"""Data of a file as a value of a type: a list of a million wrong items has one fault, and not a million.

By default pydantic keeps every fault, at a kilobyte each once they are asked for; people are told of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

T = TypeVar("T")
_MANY = ("list", "tuple", "set", "frozenset", "dict")


@cache
def validator(kind: Any) -> SchemaValidator:
    """What makes a value of the type from data, and raises pydantic's `ValidationError` where they are not as it says.

    Of each list, tuple, set and mapping its error has the first item that is at fault, and of each object all fields.
    """
    return SchemaValidator(_first_faults(TypeAdapter(kind).core_schema))


def value_of(kind: type[T], data: Any) -> T:
    """The value of a type that data of Python's own types are.

    Raises:
        ValidationError: as `validator`.
    """
    return cast(T, validator(cast(Any, kind)).validate_python(data))


def first_fault(error: ValidationError) -> str:
    """Where the data are at fault and how, as people are told: "`model.opset`: Input should be ..."."""
    first = error.errors(include_url=False)[0]
    where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"`{where}`: {what}" if where else what


def names_at(kind: Any, where: Sequence[int | str]) -> tuple[str, ...]:
    """The keys that are known where this one stands, in the data of a type made of dataclasses; none where any goes."""
    for part in where[:-1]:
        inner = get_type_hints(kind).get(str(part), ()) if is_dataclass(kind) else kind
        kind = next((one for one in (inner, *get_args(inner)) if is_dataclass(one)), inner)
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def _first_faults(schema: Any) -> Any:
    """A core schema of which everything with any number of items ends at the first that is at fault."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_first_faults, schema))
    if not isinstance(schema, Mapping):
        return schema
    inner = {key: value if key == "metadata" else _first_faults(value) for key, value in schema.items()}
    return {**inner, "fail_fast": True} if schema.get("type") in _MANY else inner
