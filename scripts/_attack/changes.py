"""One seeded change of a file: of its bytes, of its fields, or of its words."""

from __future__ import annotations

import io
import json
import random
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor

Change = Callable[[random.Random, bytes], tuple[str, bytes]]
_INTEGERS = (0, 1, -1, 2, 7, 255, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -1.0, 1e38, float("inf"), float("nan"))
_WORDS = ("", "x", "input", "Conv", "\0", "a/../../b", "é" * 40, "n" * 3000)
_VALUES = ("0", "-1", "1e400", "nan", "true", '""', '"x"', "[]", "[1, 2]", "{}", "99999999999999999999", "null", '"\0"')


def of_bytes(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """A bit flipped, a byte set, a span cut, doubled, zeroed or invented, or the end lost."""
    kind = chance.choice(("flip", "flip", "set", "cut", "double", "zero", "invent", "truncate"))
    at = chance.randrange(max(1, len(data)))
    end = min(len(data), at + chance.choice((1, 4, 64)))
    if kind == "flip":
        middle = bytes([data[at] ^ 1 << chance.randrange(8)])
        return f"{kind} at {at}", data[:at] + middle + data[at + 1 :]
    if kind == "set":
        return f"{kind} at {at}", data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    if kind == "truncate":
        return f"{kind} at {at}", data[:at]
    middle = {
        "cut": b"",
        "double": data[at:end] * 2,
        "zero": bytes(end - at),
        "invent": chance.randbytes(end - at),
    }[kind]
    return f"{kind} {at}:{end}", data[:at] + middle + data[end:]


def of_front(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """The first kilobytes alone, where a file of weights says what it holds."""
    said, front = of_bytes(chance, data[:4096])
    return f"front: {said}", front + data[4096:]


def of_fields(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """A field of an ONNX model given another value of its type, dropped, or doubled."""
    model = onnx.load_from_string(data)
    path, message, field = chance.choice(list(_fields(model, "model")))
    described = f"{path}.{field.name}"
    kind = chance.choice(("value", "value", "value", "drop", "double"))
    repeated = field.label == FieldDescriptor.LABEL_REPEATED if hasattr(field, "label") else field.is_repeated
    if kind == "drop" or (field.type == FieldDescriptor.TYPE_MESSAGE and not repeated):
        message.ClearField(field.name)
        return f"drop {described}", model.SerializeToString()
    if repeated:
        return f"{kind} {described}", _repeated(chance, model, getattr(message, field.name), field, kind)
    value = _value(chance, field)
    setattr(message, field.name, value)
    return f"set {described} to {str(value)[:40]!r}", model.SerializeToString()


def _repeated(chance: random.Random, model: Any, entries: Any, field: Any, kind: str) -> bytes:
    at = chance.randrange(len(entries))
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if kind == "double":
            entries.add().CopyFrom(entries[at])
        else:
            del entries[at]
    elif kind == "double":
        entries.append(entries[at])
    else:
        entries[at] = _value(chance, field)
    return bytes(model.SerializeToString())


def _fields(message: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Every field that is set, in every message; a model's weights count once."""
    for field, value in message.ListFields():
        yield path, message, field
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        inner = value if not hasattr(value, "ListFields") else [value]
        for index, one in enumerate(inner):
            yield from _fields(one, f"{path}.{field.name}[{index}]")


def _value(chance: random.Random, field: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return chance.choice(_WORDS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.choice((b"", b"\0", chance.randbytes(7), b"\xff" * 64))
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return chance.choice(_FLOATS)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return chance.choice([value.number for value in field.enum_type.values])
    wide = field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64)
    choices = [v for v in _INTEGERS if wide or abs(v) < 2**31]
    return chance.choice([v for v in choices if v >= 0] if field.type == FieldDescriptor.TYPE_UINT64 else choices)


def of_words(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """A line of TOML or JSON lost, doubled, or its value or key another."""
    lines = data.decode().splitlines()
    said = [number for number, line in enumerate(lines) if re.search(r"[=:]", line)]
    if not said:
        return of_bytes(chance, data)
    at = chance.choice(said)
    kind = chance.choice(("value", "value", "value", "key", "drop", "double"))
    if kind == "drop":
        del lines[at]
    elif kind == "double":
        lines.insert(at, lines[at])
    else:
        lines[at] = _another(chance, lines[at], kind)
    return f"{kind} of line {at + 1}: {lines[at][:60] if at < len(lines) else ''}", "\n".join(lines).encode()


def _another(chance: random.Random, line: str, kind: str) -> str:
    key, sign, value = re.match(r"(.*?)\s*([=:])\s*(.*)", line).groups()  # type: ignore[union-attr]
    comma = "," if value.endswith(",") else ""
    if kind == "key":
        return f"{key.strip()[:-1]}x {sign} {value}" if sign == "=" else line.replace('"', '"x', 1)
    return f"{key} {sign} {chance.choice(_VALUES)}{comma}"


def of_arrays(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """An array of an `.npz` of another type, shape or name, lost, with values that are none, or a false header."""
    with np.load(io.BytesIO(data)) as loaded:
        arrays = dict(loaded)
    name = chance.choice(sorted(arrays))
    array = arrays[name]
    kind = chance.choice(("type", "shape", "name", "lost", "values", "header"))
    if kind == "header":
        return f"header of {name}", _false_header(chance, arrays, name)
    if kind == "type":
        arrays[name] = array.astype(
            chance.choice(("float16", "float64", "int64", "bool", "complex64", "U5", "O", "u1"))
        )
    elif kind == "shape":
        flat = array.reshape(-1)
        arrays[name] = chance.choice((flat, flat[:1].reshape(()), flat[:0], array[None], array[..., :-1], array[:0]))
    elif kind == "name":
        arrays[chance.choice(("", "x", "a/b", "input.1"))] = arrays.pop(name)
    elif kind == "lost":
        del arrays[name]
    else:
        with np.errstate(invalid="ignore"):  # integers have none of these
            arrays[name] = np.asarray(chance.choice((0, 1e30, np.nan, np.inf))).astype(array.dtype) + 0 * array
    out = io.BytesIO()
    np.savez(out, **arrays)
    return f"{kind} of {name}", out.getvalue()


def _false_header(chance: random.Random, arrays: dict[str, Any], name: str) -> bytes:
    """What the header says of the shape or type is not what follows it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for key, array in arrays.items():
            file = io.BytesIO()
            np.save(file, array)
            text = file.getvalue()
            if key == name:
                shape = chance.choice((b"(1099511627776,)", b"(-1, 8)", b"(8,)", b"'x'", b"(3.5,)"))
                false = re.sub(rb"'shape': \([^)]*\)", b"'shape': " + shape, text[:128])
                text = (false.rstrip(b" \n") + b" " * 128)[:127] + b"\n" + text[128:]
            archive.writestr(f"{key}.npy", text)
    return out.getvalue()


def of_json(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """One value anywhere in a JSON text replaced, or lost."""
    value = json.loads(data)
    at: Any = value
    path: list[Any] = []
    while isinstance(at, dict | list) and at and (not path or chance.random() < 0.85):
        key = chance.choice(sorted(at) if isinstance(at, dict) else range(len(at)))
        path.append((at, key))
        at = at[key]
    holder, key = path[-1]
    where = ".".join(str(k) for _, k in path)
    if chance.random() < 0.3:
        del holder[key]
        return f"drop {where}", json.dumps(value).encode()
    holder[key] = chance.choice((0, -1, 1e300, "", "x", "../x", [], {}, None, True, [{}], 2**70, "\0"))
    return f"set {where} to {holder[key]!r}", json.dumps(value).encode()


def of_line(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """One line of JSON lines changed as JSON is, lost in part, or joined with the next."""
    lines = data.splitlines()
    at = chance.randrange(len(lines))
    kind = chance.choice(("value", "value", "value", "part", "join"))
    if kind == "value":
        said, lines[at] = of_json(chance, lines[at])
        return f"line {at + 1}: {said}", b"\n".join(lines) + b"\n"
    if kind == "part":
        lines[at] = lines[at][: chance.randrange(len(lines[at]))]
        return f"part of line {at + 1}", b"\n".join(lines) + b"\n"
    return f"join at {at + 1}", b"\n".join(lines[: at + 1]) + b"\n".join(lines[at + 1 :])


def of_head(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """The head of an `.npy` file: its bytes, or what it says of type and shape."""
    if chance.random() < 0.5:
        said, head = of_bytes(chance, data[:128])
        return f"head: {said}", head + data[128:]
    what = chance.choice(("descr", "shape", "fortran_order"))
    value = chance.choice((*_VALUES, "'<f2'", "'|O'", "'<U9'", "(-1,)", "(1099511627776,)", "(4, 1, 8, 9)", "True"))
    text = re.sub(rf"'{what}': (\([^)]*\)|'[^']*'|\w+)", f"'{what}': {value}", data[10:128].decode("latin-1"))
    line = text.rstrip().ljust(117)[:117] + "\n"
    return f"head: {what} is {value}", data[:10] + line.encode("latin-1") + data[128:]


def of_rows(chance: random.Random, data: bytes) -> tuple[str, bytes]:
    """One value in a table of an SQLite database."""
    database = sqlite3.connect(":memory:")
    database.deserialize(data)
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    tables = [name for (name,) in database.execute(names) if database.execute(f"SELECT 1 FROM {name}").fetchone()]
    table = chance.choice(sorted(tables))
    column = chance.choice([row[1] for row in database.execute(f"PRAGMA table_info({table})")])
    rows = [row for (row,) in database.execute(f"SELECT rowid FROM {table}")]
    value = chance.choice(
        (None, "", "x", -1, 0, 2**62, 1e300, "nan", b"\xff\xfe", "[", "{}", "[1]", '{"name": 1}', "é" * 99)
    )
    row = chance.choice(rows)
    try:
        with database:
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
    except sqlite3.Error:  # a rule of the table
        return of_bytes(chance, data)
    return f"{table}.{column} of row {row} is {value!r}", bytes(database.serialize())
