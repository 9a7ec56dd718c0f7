"""Give an `.ort` file the same bytes each time it is made.

onnxruntime 1.31.1 writes one table of an `.ort` file, the kernel type strings, in the order of a hash map that differs
from run to run; everything else is stable (measured on pairs of conversions). This writes that table again, sorted,
behind the file and clears the old one. The layout is FlatBuffers' (https://flatbuffers.dev/internals) and the schema
`onnxruntime/core/flatbuffers/schema/ort.fbs`, both through the readers that onnxruntime ships.
"""

from __future__ import annotations

import struct
from importlib import import_module
from typing import Any

Arguments = tuple[tuple[int, int], ...]
Strings = tuple[tuple[bytes, Arguments], ...]
OperatorTable = tuple[tuple[bytes, Strings], ...]

_RESOLVER_SLOT = 10  # vtable offset of InferenceSession.kernel_type_str_resolver, its fourth field


def stable(content: bytes) -> bytes | None:
    """The same model with its kernel type strings sorted; None where the layout is not the one known here."""
    session = _schema("InferenceSession").GetRootAs(content, 0)
    resolver, model, slot = session.KernelTypeStrResolver(), session.Model(), session._tab.Offset(_RESOLVER_SLOT)
    if resolver is None or model is None or not slot:
        return None
    first, last = resolver._tab.Pos, _start(content, model._tab.Pos)
    elsewhere = (_start(content, session._tab.Pos), session._tab.Pos, session._tab.Pos + slot)
    if not all(at < first for at in elsewhere) or first >= last:
        return None
    cleared = content[:first] + bytes(last - first) + content[last:]
    padded = bytearray(cleared + bytes(-len(cleared) % 8))
    table = _written(_read(resolver))
    at = session._tab.Pos + slot
    struct.pack_into("<I", padded, at, len(padded) + struct.unpack_from("<I", table)[0] - at)
    return bytes(padded) + table


def _start(content: bytes, table: int) -> int:
    """Where a table begins: at its vtable where that lies before it."""
    return min(table, table - int(struct.unpack_from("<i", content, table)[0]))


def _read(resolver: Any) -> OperatorTable:
    """The entries of the table, sorted by operator and by type string; arguments keep their order."""
    entries = (resolver.OpKernelTypeStrArgs(i) for i in range(resolver.OpKernelTypeStrArgsLength()))
    return tuple(sorted((entry.OpId(), _strings(entry)) for entry in entries))


def _strings(entry: Any) -> Strings:
    pairs = (entry.KernelTypeStrArgs(i) for i in range(entry.KernelTypeStrArgsLength()))
    return tuple(sorted((pair.KernelTypeStr(), _arguments(pair)) for pair in pairs))


def _arguments(pair: Any) -> Arguments:
    found = (pair.Args(i) for i in range(pair.ArgsLength()))
    return tuple((argument.ArgType(), argument.Index()) for argument in found)


def _written(table: OperatorTable) -> bytes:
    """A FlatBuffer whose root is the KernelTypeStrResolver; children come before their parents."""
    builder = import_module("flatbuffers").Builder(1024)
    entries = []
    for operator, strings in table:
        pairs = []
        for name, arguments in strings:
            made = [_table(builder, "ArgTypeAndIndex", ArgType=kind, Index=index) for kind, index in arguments]
            vector = _vector(builder, made)
            text = builder.CreateString(name)
            pairs.append(_table(builder, "KernelTypeStrArgsEntry", KernelTypeStr=text, Args=vector))
        vector = _vector(builder, pairs)
        text = builder.CreateString(operator)
        entries.append(_table(builder, "OpIdKernelTypeStrArgsEntry", OpId=text, KernelTypeStrArgs=vector))
    builder.Finish(_table(builder, "KernelTypeStrResolver", OpKernelTypeStrArgs=_vector(builder, entries)))
    return bytes(builder.Output())


def _table(builder: Any, name: str, **fields: int) -> int:
    module = _module(name)
    getattr(module, f"{name}Start")(builder)
    for field, value in fields.items():
        getattr(module, f"{name}Add{field}")(builder, value)
    return int(getattr(module, f"{name}End")(builder))


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _schema(name: str) -> Any:
    return getattr(_module(name), name)


def _module(name: str) -> Any:
    # The parent package puts the readers on sys.path, under which they import each other.
    import_module("onnxruntime.tools.ort_format_model")
    return import_module(f"ort_flatbuffers_py.fbs.{name}")
