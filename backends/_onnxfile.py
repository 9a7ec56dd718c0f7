"""Node names, external files and float16 of an ONNX file, read without the onnx package, which a device does not have.

Only the fields needed are decoded, tensors are skipped unread, so a file of gigabytes costs no more than its nodes.
Field numbers are those of `onnx/onnx.proto`; the encoding is Protocol Buffers' wire format.
"""

from __future__ import annotations

import mmap
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ..errors import InputError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# message.field: number
_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _FUNCTION_NODE = 1, 5, 11, 7
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 3, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_NUMBER, _ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH = 1, 3, 5, 6
_ATTRIBUTE_TEXTS, _ATTRIBUTE_GRAPHS = 9, 11
_TENSOR_TYPE, _TENSOR_EXTERNAL, _ENTRY_KEY, _ENTRY_VALUE = 2, 13, 1, 2
_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT = 2, 1, 1
_FLOAT16 = 10  # TensorProto.DataType
# Attributes that are a type.
_TYPED = frozenset({"to", "dtype", "output_dtype"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node as the file spells it; `domain` is empty for ONNX's own operators.

    Attributes:
        inputs: one that is not given is empty.
        numbers: attributes that are one integer each.
        texts: attributes that are lists of texts.
    """

    name: str
    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: Mapping[str, int]
    texts: Mapping[str, tuple[str, ...]]

    @property
    def label(self) -> str:
        """The name, or what tells a nameless node apart."""
        return self.name or f"{self.operator} -> {', '.join(self.outputs)}"


def read_nodes(path: Path) -> tuple[Node, ...]:
    """All nodes of the file in its order, those of functions and of nested graphs included.

    Raises:
        InputError: the file is not an ONNX model.
    """
    model = _mapped(path)
    try:
        nodes = [node for graph in _all(model, _MODEL_GRAPH) for node in _nodes(graph, _GRAPH_NODE)]
        return (*nodes, *(node for f in _all(model, _MODEL_FUNCTION) for node in _nodes(f, _FUNCTION_NODE)))
    except (IndexError, ValueError) as error:
        raise _not_onnx(path) from error


def external_files(path: Path) -> tuple[str, ...]:
    """Locations of the file's external data, relative to its directory, sorted.

    Raises:
        InputError: the file is not an ONNX model.
    """
    model = _mapped(path)
    try:
        return tuple(sorted({name for graph in _all(model, _MODEL_GRAPH) for name in _locations(graph)}))
    except (IndexError, ValueError) as error:
        raise _not_onnx(path) from error


def holds_float16(path: Path) -> bool:
    """Whether an input, a weight or a constant of the file is float16, or something is cast to it.

    Raises:
        InputError: the file is not an ONNX model.
    """
    model = _mapped(path)
    try:
        graphs, functions = _all(model, _MODEL_GRAPH), _all(model, _MODEL_FUNCTION)
        attributes = chain.from_iterable(_attributes(each, _FUNCTION_NODE) for each in functions)
        return any(_of_float16(graph) for graph in graphs) or any(map(_names_float16, attributes))
    except (IndexError, ValueError) as error:
        raise _not_onnx(path) from error


def copy_graph(source: Path, path: Path) -> None:
    """Copy a graph and the external data that it names, under the names it knows them by.

    Raises:
        InputError: the file is not an ONNX model, or names data outside of its directory.
    """
    shutil.copyfile(source, path)
    for name in external_files(source):
        if not (path.parent / name).resolve().is_relative_to(path.parent.resolve()):
            raise InputError(f"{source.name} keeps weights in {name}, outside of its own directory.")
        (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / name, path.parent / name)


def _mapped(path: Path) -> memoryview:
    """The file as bytes of which only those looked at are read; unmapped when the last view of it is gone."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise _not_onnx(path)
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _not_onnx(path: Path) -> InputError:
    return InputError(f"{path.name} is not an ONNX model.")


def _nodes(graph: memoryview, field: int) -> Iterator[Node]:
    for message in _all(graph, field):
        attributes = list(_all(message, _NODE_ATTRIBUTE))
        yield Node(
            name=_text(message, _NODE_NAME),
            operator=_text(message, _NODE_TYPE),
            domain=_text(message, _NODE_DOMAIN),
            inputs=_texts(message, _NODE_INPUT),
            outputs=_texts(message, _NODE_OUTPUT),
            numbers={
                _text(each, _ATTRIBUTE_NAME): number
                for each in attributes
                for number in _numbers(each, _ATTRIBUTE_NUMBER)
            },
            texts={_text(each, _ATTRIBUTE_NAME): _texts(each, _ATTRIBUTE_TEXTS) for each in attributes},
        )
        for nested in _nested(message):
            yield from _nodes(nested, _GRAPH_NODE)


def _nested(node: memoryview) -> Iterator[memoryview]:
    for attribute in _all(node, _NODE_ATTRIBUTE):
        yield from _all(attribute, _ATTRIBUTE_GRAPH)
        yield from _all(attribute, _ATTRIBUTE_GRAPHS)


def _locations(graph: memoryview) -> Iterator[str]:
    for tensor in _tensors(graph):
        for entry in _all(tensor, _TENSOR_EXTERNAL):
            if _text(entry, _ENTRY_KEY) == "location":
                yield _text(entry, _ENTRY_VALUE)


def _element_types(graph: memoryview) -> Iterator[int]:
    """Of the inputs and initializers of a graph; nested ones have inputs of types that the outer one gives them."""
    for tensor in _all(graph, _GRAPH_INITIALIZER):
        yield from _numbers(tensor, _TENSOR_TYPE)
    for value in _all(graph, _GRAPH_INPUT):
        for kind in _all(value, _VALUE_TYPE):
            for tensor in _all(kind, _TYPE_TENSOR):
                yield from _numbers(tensor, _TENSOR_ELEMENT)


def _of_float16(graph: memoryview) -> bool:
    return _FLOAT16 in _element_types(graph) or any(map(_names_float16, _attributes(graph, _GRAPH_NODE)))


def _attributes(body: memoryview, field: int) -> Iterator[memoryview]:
    """Of all nodes, those of nested graphs included."""
    for node in _all(body, field):
        yield from _all(node, _NODE_ATTRIBUTE)
        for nested in _nested(node):
            yield from _attributes(nested, _GRAPH_NODE)


def _names_float16(attribute: memoryview) -> bool:
    """Whether it is a constant of it, a graph with such weights, or the type that its node gives."""
    return (
        any(_FLOAT16 in _numbers(tensor, _TENSOR_TYPE) for tensor in _all(attribute, _ATTRIBUTE_TENSOR))
        or any(_FLOAT16 in _element_types(graph) for graph in _all(attribute, _ATTRIBUTE_GRAPH))
        or (_text(attribute, _ATTRIBUTE_NAME) in _TYPED and _FLOAT16 in _numbers(attribute, _ATTRIBUTE_NUMBER))
    )


def _tensors(graph: memoryview) -> Iterator[memoryview]:
    yield from _all(graph, _GRAPH_INITIALIZER)
    for node in _all(graph, _GRAPH_NODE):
        for attribute in _all(node, _NODE_ATTRIBUTE):
            yield from _all(attribute, _ATTRIBUTE_TENSOR)
        for nested in _nested(node):
            yield from _tensors(nested)


def _text(message: memoryview, field: int) -> str:
    return str(next(_all(message, field), b""), "utf-8")


def _texts(message: memoryview, field: int) -> tuple[str, ...]:
    return tuple(str(each, "utf-8") for each in _all(message, field))


def _numbers(message: memoryview, field: int) -> Iterator[int]:
    """The values of a field that is an integer; nothing of any other."""
    return (value for number, value in _fields(message) if number == field and isinstance(value, int))


def _all(message: memoryview, field: int) -> Iterator[memoryview]:
    """The values of a length-delimited field."""
    return (value for number, value in _fields(message) if number == field and not isinstance(value, int))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The number of each field with its bytes, or with the integer that it is; those of a fixed width are left out."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _BYTES:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field is longer than its message")
            yield key >> 3, message[at : at + size]
            at += size
        elif kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number at this position and the position after it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
