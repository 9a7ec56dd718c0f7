"""Outputs that are another output under a second name: pnnx 20261020 crashes on them."""

from __future__ import annotations

from pathlib import Path

from edgepress.backends.authoring import import_or_explain


def without_aliases(source: Path, path: Path) -> dict[str, str]:
    """Write a graph without them, weights inside; returns what is computed for each of its outputs, in their order."""
    onnx = import_or_explain("onnx")
    model = onnx.load(source)
    graph = model.graph
    outputs = [output.name for output in graph.output]
    same = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity" and n.output[0] in outputs}
    computed = {name: _resolved(name, same, outputs) for name in outputs}
    gone = {name for name, found in computed.items() if name != found}
    for kept, fields in (
        ([node for node in graph.node if node.output[0] not in gone], graph.node),
        ([output for output in graph.output if output.name not in gone], graph.output),
    ):
        entries = [type(entry).FromString(entry.SerializeToString()) for entry in kept]
        del fields[:]
        fields.extend(entries)
    onnx.save(model, path)
    return computed


def _resolved(name: str, same: dict[str, str], outputs: list[str]) -> str:
    """The output that it is a second name of, or itself."""
    seen = name
    while seen in same:
        seen = same[seen]
    return seen if seen in outputs else name
