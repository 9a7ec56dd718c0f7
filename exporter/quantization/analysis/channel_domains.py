"""Values whose channels can be rescaled together: weights lie at the borders, and all between follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import constant, number

if TYPE_CHECKING:
    import onnx_ir as ir

# f(x / s) = f(x) / s for every s > 0, channel by channel.
HOMOGENEOUS = frozenset(
    {"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "Add", "Sum"}
)
WEIGHT, BIAS = 1, 2


@dataclass(slots=True, kw_only=True)
class Domain:
    """Values with one scale a channel, along axis 1.

    Attributes:
        values: all of them, in the order found; each has the same channels.
        sources: Conv and Gemm nodes that make one: their outputs are rescaled through weight rows and bias.
        sinks: Conv and Gemm nodes that read one: they undo it through their weight columns.
        bounds: upper bound of each Clip inside, by its result; the lower one is 0.
    """

    values: list[ir.Value] = field(default_factory=list)
    sources: list[ir.Node] = field(default_factory=list)
    sinks: list[ir.Node] = field(default_factory=list)
    bounds: dict[ir.Value, float] = field(default_factory=dict)


def find_domains(graph: ir.Graph) -> Iterator[Domain]:
    """The domains of a graph that can be rescaled, in graph order; they do not overlap."""
    seen: set[ir.Value] = set()
    for node in graph:
        if _linear(node) and node.outputs[0] not in seen:
            domain = Domain()
            rescalable = _grow(node.outputs[0], domain)
            seen.update(domain.values)
            if rescalable and domain.sinks:
                yield domain


def rows(node: ir.Node) -> int:
    """Output channels of a linear node."""
    weight = constant(node.inputs[WEIGHT])
    assert weight is not None
    return int(weight.shape[1] if node.op_type == "Gemm" and not number(node, "transB", 0) else weight.shape[0])


def _grow(start: ir.Value, domain: Domain) -> bool:
    """Add all that hangs together with a value; whether all of it can be rescaled."""
    stack, rescalable = [start], True
    while stack:
        value = stack.pop()
        if value in domain.values:
            continue
        domain.values.append(value)
        neighbours = None if value.is_graph_output() else _neighbours(value, domain)
        rescalable &= neighbours is not None
        stack.extend(neighbours or ())
    return rescalable


def _neighbours(value: ir.Value, domain: Domain) -> list[ir.Value] | None:
    """Values that share the scales of this one; None where something at it does not follow a rescaling."""
    found: list[ir.Value] = []
    producer = value.producer()
    if producer is None:
        return None
    if _linear(producer):
        domain.sources.append(producer)
    elif _follows(producer, domain):
        found.extend(v for v in producer.inputs if v is not None and constant(v) is None)
    else:
        return None
    for use in value.uses():
        if use.node.graph is not value.graph:
            return None  # the body of an If or a Loop reads it as it is
        if _linear(use.node) and use.idx == 0:
            if use.node not in domain.sinks:
                domain.sinks.append(use.node)
        elif _follows(use.node, domain):
            found.append(use.node.outputs[0])
        else:
            return None
    return found


def _linear(node: ir.Node) -> bool:
    """A Conv or plain Gemm with float weights of its own and a bias that is constant or absent."""
    if node.domain != "" or node.op_type not in ("Conv", "Gemm"):
        return False
    if any(number(node, name, default) != default for name, default in (("transA", 0), ("alpha", 1), ("beta", 1))):
        return False
    for value in node.inputs[1:]:
        array = constant(value)
        if value is not None and (array is None or array.dtype != np.float32 or len(list(value.uses())) != 1):
            return False
    bias = constant(node.inputs[BIAS]) if len(node.inputs) > BIAS else None
    return bias is None or bias.shape == (rows(node),)


def _follows(node: ir.Node, domain: Domain) -> bool:
    """Whether the node's result has the scales of its inputs; notes the bound of a Clip."""
    if node.domain != "" or len(node.outputs) != 1:
        return False
    if node.op_type in ("Add", "Sum"):
        shapes = [None if v is None or constant(v) is not None or v.shape is None else v.shape for v in node.inputs]
        return all(s is not None and len(s) == len(shapes[0] or ()) and s[1] == (shapes[0] or s)[1] for s in shapes)
    if node.op_type == "Clip":
        low, high = (constant(node.inputs[i]) if len(node.inputs) > i else None for i in (1, 2))
        if low is None or high is None or low.item() != 0:
            return False
        domain.bounds[node.outputs[0]] = float(high)
        return True
    return node.op_type in HOMOGENEOUS
