"""A recipe as a TOML file: read with one message for each fault, written so that it reads back equal.

The fields, their types, bounds and defaults are those of `Recipe` and its docstring, and stand nowhere else.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema, create_model

from ..backends.base import AxisRange
from ..calibration.ranges import METHODS
from ..errors import InputError
from ..profiles.budget.budget import Budget, modern
from ..profiles.device.precision import precisions
from ..profiles.reading.near import did_you_mean
from ..profiles.reading.toml_file import read_toml
from ..profiles.reading.validator import names_at, validator
from .pruning.importance import METHODS as IMPORTANCE
from .quantization.lifts import LIFTS
from .quantization.quantizer import AUTO
from .quantization.rungs import RUNGS
from .recipe import Recipe

# Of these one at most may be set, so that setting one on the command line unsets the other one of the file.
EXCLUSIVE = ("calibration", "statistics")
_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@cache
def choices() -> Mapping[str, tuple[str, ...]]:
    """The names that a registry allows in a field of plain strings, by field."""
    return {
        "precision": (*(precision.name for precision in reversed(precisions())), AUTO),
        "ranges": (AUTO, *METHODS.names()),
        "lifts": LIFTS.names(),
        "rungs": RUNGS.names(),
        "importance": (AUTO, *IMPORTANCE.names()),
    }


def load_recipe(path: str | Path) -> Recipe:
    """The recipe of a TOML file; what it leaves out is as `Recipe` has it. Paths in it are as on a command line.

    Raises:
        InputError: it cannot be read, or one of its keys is unknown, of another type, out of bounds, or contradicts
            another one.
    """
    hint = "`edgepress init --recipe FILE` writes a recipe to start from."
    return recipe_from(read_toml(Path(path), hint=hint, exact=False), str(path))


def recipe_from(data: Mapping[str, Any], origin: str) -> Recipe:
    """The recipe that a file's data say; `origin` is the file, for messages.

    Raises:
        InputError: as `load_recipe`.
    """
    try:
        data = modern(data)
        # As JSON, strictly: "yes" is no boolean and 2.5 no integer, yet a list is a tuple.
        parsed = validator(_model()).validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise _fault(error, origin) from error
    except InputError as error:
        raise InputError(f"{origin}: {error.message}", hint=error.hint) from error
    given = {name: getattr(parsed, name) for name in parsed.model_fields_set}
    try:
        return Recipe(**given)
    except InputError as error:
        raise InputError(f"{origin}: {error.message}", hint=error.hint) from error


def overridden(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with the settings that were given elsewhere, such as on a command line, on top.

    Args:
        settings: by field. Limits and axes join the recipe's, and are stronger than those of the same name.

    Raises:
        InputError: the result contradicts itself.
    """
    unset: dict[str, Any] = {}
    if any(settings.get(name) is not None for name in EXCLUSIVE):
        unset |= dict.fromkeys(EXCLUSIVE)
    if "prune" in settings:
        unset["pruned"] = {}  # a share that is typed chooses anew
    joined: dict[str, Any] = {}
    if "budget" in settings:
        joined["budget"] = recipe.budget.under(settings["budget"])
    if "axes" in settings:
        joined["axes"] = {**recipe.axes, **settings["axes"]}
    return replace(recipe, **{**unset, **settings, **joined})


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML, every field that is set; `load_recipe` gives it back equal."""
    import tomli_w

    return tomli_w.dumps(recipe_data(recipe))


def recipe_data(recipe: Any) -> dict[str, Any]:
    """The recipe as the values of a TOML file; what is None is left out."""
    values = ((field.name, getattr(recipe, field.name)) for field in fields(recipe))
    return {name: _plain(value) for name, value in values if value is not None}


def recipe_schema() -> dict[str, Any]:
    """JSON schema of a recipe file, for editors."""
    schema = _model().model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "edgepress recipe"}


def template(schema: str) -> str:
    """A recipe file with every field explained and commented out, at its default or with an example.

    Args:
        schema: where the schema lies, relative to the file.
    """
    import tomli_w

    head = (
        f"#:schema {schema}\n# For `edgepress export SOURCE --target NAME --recipe FILE`; every setting is optional.\n"
    )
    given, hints, told = recipe_data(Recipe()), get_type_hints(Recipe), _descriptions()
    examples = {name: given[name] if given.get(name, {}) != {} else _example(hints[name]) for name in told}
    tables_last = sorted(told, key=lambda name: isinstance(examples[name], dict))
    blocks = (
        textwrap.wrap(told[name], 117) + tomli_w.dumps({name: examples[name]}).splitlines() for name in tables_last
    )
    return "\n".join([head, *("\n".join(f"# {line}" for line in block) + "\n" for block in blocks)])


@cache
def _model() -> type[BaseModel]:
    """`Recipe` as a pydantic model: the same fields, with the types that a file can say."""
    hints, told = get_type_hints(Recipe, include_extras=True), _descriptions()
    made: dict[str, Any] = {}
    for field in fields(Recipe):
        default = field.default_factory() if callable(field.default_factory) else field.default
        hint = _readable(hints[field.name], choices().get(field.name, ()))
        shown = {"default": _plain(default)} if isinstance(default, Budget) else None
        made[field.name] = (hint, Field(default=default, description=told.get(field.name), json_schema_extra=shown))
    return create_model("RecipeFile", __config__=_CONFIG, **made)


def _written(kind: Any, example: str) -> Any:
    """A type that a file writes as text, by the type's own `parse`."""

    def parse(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is no text such as {example!r}.")  # noqa: TRY004  (pydantic's)
        try:
            return kind.parse(value)
        except InputError as error:
            raise ValueError(error.args[0]) from error

    return Annotated[kind, PlainValidator(parse), WithJsonSchema({"type": ["string"], "examples": [example]})]


_TEXT: Mapping[type, tuple[Any, str]] = {
    kind: (_written(kind, example), example) for kind, example in ((AxisRange, "1:8:64"),)
}


def _budget(value: object) -> Budget:
    """A table of limits, each a text."""
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"{value!r} is no table of limits such as latency_p90 = '5ms'.")
    try:
        return Budget.parse(value)
    except InputError as error:
        raise ValueError(error.args[0]) from error


_BUDGET_SCHEMA = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "examples": [{"latency_p90": "5ms", "size": "4MB"}],
}
_BUDGET = Annotated[Budget, PlainValidator(_budget), WithJsonSchema(_BUDGET_SCHEMA)]


def _readable(hint: Any, choices: tuple[str, ...]) -> Any:
    """The type with every part that a file writes as text replaced by one that reads it, and strings by the choices."""
    if hint is str and choices:
        return Literal[choices]
    if hint is Budget:
        return _BUDGET
    if isinstance(hint, type) and hint in _TEXT:
        return _TEXT[hint][0]
    origin, parts = get_origin(hint), get_args(hint)
    if origin is None or origin is Literal:
        return hint
    if origin is Annotated:
        return Annotated[(_readable(parts[0], choices), *parts[1:])]
    inner = tuple(_readable(part, choices) for part in parts)
    if origin not in (Union, types.UnionType):
        return origin[inner]
    if all(get_origin(part) is Literal for part in inner):
        return Literal[tuple(value for part in inner for value in get_args(part))]  # one message, not one a part
    return Union[inner]  # noqa: UP007  (made of a tuple)


def _plain(value: Any) -> Any:
    """A field's value as TOML has it."""
    if type(value) in _TEXT:
        return str(value)
    if isinstance(value, Budget):
        return value.texts()
    if is_dataclass(value):
        return recipe_data(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _example(hint: Any) -> Any:
    """Some value of a type, for the template."""
    if hint is Budget:
        return {"latency_p90": "5ms", "size": "4MB"}
    if get_origin(hint) is Mapping:
        # The table `pruned` stays empty: it contradicts a recipe in which nothing else is set.
        examples = {AxisRange: {"batch": _TEXT[AxisRange][1]}}
        return examples.get(get_args(hint)[1], {})
    for part in (hint, *get_args(hint)):
        if get_origin(part) is Literal:
            return get_args(part)[0]
        if is_dataclass(part) and isinstance(part, type):
            return recipe_data(part())
        if part in _TEXT:
            return _TEXT[part][1]
        if part in (bool, int, float, str):
            return {bool: False, int: 1, float: 0.5, str: "PATH"}[part]
    return []


@cache
def _descriptions() -> dict[str, str]:
    """What the docstring of `Recipe` says of each field."""
    _, _, attributes = inspect.cleandoc(Recipe.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _fault(error: ValidationError, origin: str) -> InputError:
    """One message for the first fault; a misspelt key comes before what it leaves behind."""
    unknown = ("extra_forbidden", "unexpected_keyword_argument")
    first = min(error.errors(), key=lambda e: e["type"] not in unknown)
    loc, message = first["loc"], first["msg"].replace("Input should be", "expected")
    key = ".".join(str(part) for part in loc)
    if first["type"] in unknown:
        return InputError(f"{origin}: unknown key `{key}`. {did_you_mean(str(loc[-1]), names_at(Recipe, loc), 1)}")
    if first["type"] == "value_error":
        return InputError(f"{origin}: `{key}`: {message.removeprefix('Value error, ')}")
    choices = re.findall(r"'([^']+)'", message) if first["type"] == "literal_error" else ()
    hint = did_you_mean(str(first["input"]), choices, 1) if choices else None
    if isinstance(first["input"], dict):
        hint = 'A name with dots is written in quotes, as in "a.b" = 8.'
    return InputError(f"{origin}: `{key}` is {first['input']!r}: {message}.", hint=hint)


if __name__ == "__main__":
    print(json.dumps(recipe_schema(), indent=2, sort_keys=True))
