"""A split into parts of a computed size: onnxscript fails at it, and few runtimes have the sequence that it makes.

`torch.split(x, x.shape[0] // 2)` of a free batch, as siamese networks have it, is a SplitToSequence in every exporter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from ...graphs.values import add_constant, constant, everywhere, number, owner

if TYPE_CHECKING:
    import onnx_ir as ir


@contextlib.contextmanager
def computed_splits_stay() -> Iterator[None]:
    """Inside, onnxscript's folding leaves such a split alone; it asks for the value that there is none of (0.7)."""
    from onnxscript.optimizer import _constant_folding

    folding, key = _constant_folding.registry.op_evaluators, ("", "SplitToSequence")
    guarded = [replace(each, function=_unless_computed(each.function)) for each in folding[key]]
    with patch.dict(folding, {key: guarded}):
        yield


def _unless_computed(fold: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(node: ir.Node, *more: Any) -> Any:
        return None if _is_one_size(node) and constant(node.inputs[1]) is None else fold(node, *more)

    return guarded


def splits_by_slices(model: ir.Model) -> int:
    """Write the parts of every such split as slices, where each is asked for by its number; returns how many splits."""
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    found = [node for node in everywhere(model, "SplitToSequence") if _is_one_size(node) and _parts(node)]
    for node in found:
        for part in _parts(node):
            made = _sliced(owner(part), node, part)
            result = part.outputs[0]
            ir.convenience.replace_nodes_and_values(owner(part), part, [part], made, [result], made[-1].outputs)
    if found:
        RemoveUnusedNodesPass()(model)
    return len(found)


def _is_one_size(node: ir.Node) -> bool:
    """All parts are of one size but the last: the split is a number and no list of sizes."""
    split = node.inputs[1] if len(node.inputs) > 1 else None
    return split is not None and split.shape is not None and len(split.shape) == 0


def _parts(node: ir.Node) -> list[ir.Node]:
    """What reads one part each by a number that is known; empty where something else reads the sequence."""
    parts = [use.node for use in node.outputs[0].uses()]
    numbers = [constant(part.inputs[1]) for part in parts if part.op_type == "SequenceAt"]
    known = len(numbers) == len(parts) and all(value is not None and int(value) >= 0 for value in numbers)
    return parts if known and not node.outputs[0].is_graph_output() else []


def _sliced(graph: ir.Graph, node: ir.Node, part: ir.Node) -> list[ir.Node]:
    """From the part's number times the size to the next one's, as far as the axis reaches."""
    import onnx_ir as ir

    index, name = constant(part.inputs[1]), part.name or "SequenceAt"
    assert index is not None
    axis = add_constant(graph, f"{name}_axis", np.array([int(number(node, "axis", 0))], np.int64))
    one = add_constant(graph, f"{name}_one", np.array([1], np.int64))
    numbers = [add_constant(graph, f"{name}_part{at}", np.array([int(index) + at], np.int64)) for at in (0, 1)]
    cast = ir.node("Cast", [node.inputs[1]], {"to": ir.DataType.INT64.value}, name=f"{name}/Cast")
    size = ir.node("Reshape", [cast.outputs[0], one], name=f"{name}/Reshape")
    ends = [ir.node("Mul", [size.outputs[0], at], name=f"{name}/Mul{place}") for place, at in enumerate(numbers)]
    slice_ = ir.node("Slice", [node.inputs[0], *(end.outputs[0] for end in ends), axis], name=name)
    made = [cast, size, *ends, slice_]
    for place, inner in enumerate(made[:-1]):
        inner.outputs[0].name = f"{part.outputs[0].name}_place{place}"
    return made
