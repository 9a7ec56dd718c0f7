"""Opsets: a number that says which definition of each ONNX operator a model means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .names import first_ir_version, proto_nodes, saved_copy

if TYPE_CHECKING:
    import onnx_ir as ir

_ONNX = ("", "ai.onnx")
# Nodes that a message names.
_TOLD = 5
# Below it nothing is lowered: every runtime in use reads it.
_LOWEST = 13
# From opset 12 on their words differ in what `ceil_mode` does, and no more; 19 brought dilations to one of them.
_POOLS, _POOLS_ALIKE = frozenset({"AveragePool", "MaxPool"}), 12


def is_onnx(domain: str) -> bool:
    """The domain of ONNX's own operators, which the number is about."""
    return domain in _ONNX


def means_the_same(operator: str, given: int, wanted: int, *, rounds_up: bool = True) -> bool:
    """Whether both opsets define the operator in the same words, with the same attributes, inputs and outputs.

    The types that it takes may differ: a model that has others is not valid at the opset without them.

    Args:
        rounds_up: a pool has `ceil_mode`, of which alone its words changed.
    """
    one, two = _definition(operator, given), _definition(operator, wanted)
    if one is None or two is None:
        return False
    words = slice(1, None) if operator in _POOLS and not rounds_up and wanted >= _POOLS_ALIKE else slice(None)
    return one.since_version == two.since_version or _words(one)[words] == _words(two)[words]


def rounds_up(node: ir.Node) -> bool:
    """Whether a pool may have a window at the end that is not whole."""
    return bool(node.attributes.get_int("ceil_mode", 0))


def read_alike(node: ir.Node, given: int, wanted: int) -> bool:
    """Whether who knows an operator by another opset finds all that the node says, and supposes what it leaves out.

    The words of both may differ: where only they do, so may what is computed, but seldom does.
    """
    one, two = _definition(node.op_type, given), _definition(node.op_type, wanted)
    if (
        one is None
        or two is None
        or len(node.inputs) > two.max_input
        or not set(node.attributes) <= set(two.attributes)
    ):
        return False
    unsaid = [name for name in two.attributes if name not in node.attributes]
    supposed = [name for name in unsaid if name in one.attributes]
    same = all(str(one.attributes[n].default_value) == str(two.attributes[n].default_value) for n in supposed)
    return same and not any(two.attributes[name].required for name in unsaid)


def is_defined(operator: str, opset: int) -> bool:
    """Whether an opset has the operator."""
    return _definition(operator, opset) is not None


def attributes_of(operator: str, opset: int) -> frozenset[str]:
    """Names of the attributes that the operator has there; none where the opset does not have it."""
    found = _definition(operator, opset)
    return frozenset() if found is None else frozenset(found.attributes)


def first_opset(operator: str) -> int:
    """The opset that brought the operator; 0 where none has it."""
    from onnx import defs

    versions = [schema.since_version for schema in defs.get_all_schemas_with_history() if schema.name == operator]
    return int(min(versions, default=0))


def parted(model: ir.Model, given: int, wanted: int) -> str:
    """Why the model is not the same at another opset, in words: the first nodes that are not."""
    nodes = [node for node in model.graph.all_nodes() if is_onnx(node.domain)]
    new = [node for node in nodes if _definition(node.op_type, wanted) is None]
    if new:
        told = (
            f"{node.name or node.op_type} ({node.op_type}, new in opset {first_opset(node.op_type)})" for node in new
        )
        return f"and it has {', '.join(islice(told, _TOLD))}"
    other = (
        f"{n.name or n.op_type} ({n.op_type})"
        for n in nodes
        if not means_the_same(n.op_type, given, wanted, rounds_up=rounds_up(n))
    )
    return f"where {', '.join(islice(other, _TOLD)) or 'a function of its own'} means another thing"


def at_an_older_opset(path: Path, directory: Path) -> Path | None:
    """A copy of the model under the lowest opset at which it means the same, which more runtimes read.

    Returns:
        None where there is no lower one.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    given = next((entry.version for entry in model.opset_import if is_onnx(entry.domain)), 0)
    operators = {
        (node.op_type, any(attribute.name == "ceil_mode" and attribute.i for attribute in node.attribute))
        for node in proto_nodes(model.graph)
        if is_onnx(node.domain)
    }
    lower = (
        opset
        for opset in range(_LOWEST, given)
        if all(means_the_same(name, given, opset, rounds_up=up) for name, up in operators)
    )
    lowest = None if model.functions else next(lower, None)
    if lowest is None:
        return None
    for entry in model.opset_import:
        if is_onnx(entry.domain):
            entry.version = lowest
    model.ir_version = first_ir_version(model.opset_import)
    return saved_copy(model, path, directory / f"{path.stem}-opset{lowest}.onnx")


def _definition(operator: str, opset: int) -> Any:
    from onnx import defs

    try:
        return defs.get_schema(operator, opset, "")
    except defs.SchemaError:
        return None


def _words(schema: Any) -> tuple[object, ...]:
    attributes = sorted((a.name, str(a.type), a.required, str(a.default_value)) for a in schema.attributes.values())
    return schema.doc, attributes, *(tuple(_formal(end)) for end in (schema.inputs, schema.outputs))


def _formal(parameters: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for parameter in parameters:
        yield parameter.name, str(parameter.option)
