"""Give an output of the model that a branch reads as well a node of its own.

OpenVINO 2026.4.1 makes such a value the first result of the If, in front of the If's own, when it reads the model from
a file: the next node then has the output in place of what the branch computed, and nothing is said where their shapes
are alike. Behind an Identity the output is another value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graphs.names import free_name, value_names

if TYPE_CHECKING:
    import onnx_ir as ir


def outputs_apart(model: ir.Model) -> int:
    """Put an Identity behind each value that is an output and is read in a branch, in place; returns how many."""
    found = [value for value in dict.fromkeys(model.graph.outputs) if _is_read_in_a_branch(value)]
    for value in found:
        _apart(model.graph, value)
    return len(found)


def _is_read_in_a_branch(value: ir.Value) -> bool:
    return value.producer() is not None and any(use.node.graph is not value.graph for use in value.uses())


def _apart(graph: ir.Graph, value: ir.Value) -> None:
    """The output keeps its name, and what is read inside has another."""
    import onnx_ir as ir

    name = str(value.name)
    node = ir.node("Identity", [value], name=free_name(f"{name}_output", value_names(graph)))
    given = node.outputs[0]
    given.shape, given.type = value.shape, value.type
    value.name = free_name(f"{name}_inside", value_names(graph))
    given.name = name
    graph.append(node)
    for index, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[index] = given
