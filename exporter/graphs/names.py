"""Names of values and nodes: what is taken, and what was given twice told apart."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .order import bodies

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


# From this version on an initializer that is listed among the inputs is a default; before, all of them had to be.
_DEFAULTS_IR = 4


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or the first of name_1, name_2 ... that is not taken."""
    candidate, index = name, 0
    while candidate in taken:
        index += 1
        candidate = f"{name}_{index}"
    return candidate


def value_names(graph: ir.Graph) -> set[str]:
    """Every name that a value of the graph has: inputs, initializers and results, in bodies of If and Loop too."""
    names = {str(value.name) for value in _own(graph)}
    for body in _bodies(graph):
        names |= value_names(body)
    return names


def first_ir_version(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    """The first IR version whose files may hold these opsets; a runtime refuses those that came after it."""
    from onnx import helper

    return int(helper.find_min_ir_version_for(list(imports), ignore_unknown=True))


def tell_values_apart(model: ir.Model) -> None:
    """Rename values that have the name of another one that they can see; inputs and outputs keep theirs.

    ONNX takes an initializer called like an input for its default, and a result called like another for the same.
    """
    _tell_apart(model.graph, set())


def with_names_of_its_own(path: Path, directory: Path) -> Path:
    """The file, or a copy in the directory where onnxruntime refuses it for what means nothing.

    That is one name for two nodes, a size below 1, and an IR version later than the file's opset asks for; but none
    below 4, where every initializer would have to be an input.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    seen: set[str] = set()
    least = max(first_ir_version(model.opset_import), _DEFAULTS_IR)
    changed = model.ir_version > least
    model.ir_version = min(model.ir_version, least)
    for node in proto_nodes(model.graph):
        if node.name:
            name = free_name(node.name, seen)
            changed |= name != node.name
            node.name = name
            seen.add(name)
    for value in (*model.graph.input, *model.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.HasField("dim_value") and size.dim_value < 1:
                size.Clear()
                changed = True
    if not changed:
        return path
    return saved_copy(model, path, directory / f"{path.stem}-names.onnx")


def saved_copy(model: onnx.ModelProto, path: Path, copy: Path) -> Path:
    """Write a model that was read from `path` without its external data, whole, to `copy`."""
    import onnx

    onnx.load_external_data_for_model(model, str(path.parent))
    onnx.save(model, copy, save_as_external_data=model.ByteSize() > _EMBEDDED, location=f"{copy.name}.data")
    return copy


_EMBEDDED = 1_800_000_000


def proto_nodes(graph: Any) -> Iterator[Any]:
    """Every node of a GraphProto, in bodies of If, Loop and Scan too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from proto_nodes(body)


def _own(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _bodies(graph: ir.Graph) -> Iterator[ir.Graph]:
    for node in graph:
        yield from bodies(node)


def _tell_apart(graph: ir.Graph, outer: set[str]) -> None:
    fixed = [*graph.inputs, *graph.outputs]
    holders: dict[str, ir.Value] = {}
    for value in fixed:
        if value.name:
            holders.setdefault(value.name, value)
    twice = [v for v in _own(graph) if v.name and (v.name in outer or holders.setdefault(v.name, v) is not v)]
    taken = outer | holders.keys()
    for value in twice:
        value.name = free_name(str(value.name), taken)
        taken.add(value.name)
    for body in _bodies(graph):
        _tell_apart(body, taken)
