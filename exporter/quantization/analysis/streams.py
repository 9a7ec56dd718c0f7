"""Where the result of a convolution goes: into a transformer's tokens, among peaks, or out of the model."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ...graphs.values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

# What turns a feature map into tokens, what a transformer does with them first, and what shows that they are tokens.
LAYOUT = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})
STREAM = frozenset({"Add", "Concat", "LayerNormalization"})
TOKENWISE = frozenset({"LayerNormalization", "RMSNormalization", "Attention"})
PRODUCTS = frozenset({"MatMul", "Gemm"})
# What leaves the order of neighbours as it is, and what asks for it.
_KEEPS_ORDER = LAYOUT | {"Sigmoid", "HardSigmoid", "Softmax", "Relu", "Clip", "Exp", "Identity", "Cast", "Slice"}
_COMPARES = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Sub"})


def feeds_stream(value: ir.Value) -> bool:
    """Whether a convolution's result becomes the tokens of a transformer: reshaped, then added to, joined or normed.

    Eight bits there would add noise to everything that follows (measured on a ViT: 5 dB). The reshaped and joined
    outputs of a detector are no tokens: no norm and no matrix of weights reads them. Nor are rows whose distances are
    asked (`torch.cdist`), which a product with each other gives.
    """
    stack, visited = [(value, False)], set()
    while stack:
        current, reshaped = stack.pop()
        if (current, reshaped) in visited:
            continue
        visited.add((current, reshaped))
        for use in current.uses():
            if use.node.op_type in LAYOUT:
                stack.append((use.node.outputs[0], True))
            elif reshaped and use.node.op_type in STREAM and _becomes_tokens(use.node):
                return True
    return False


def leaves_unweighted(value: ir.Value, weighted: Collection[str]) -> bool:
    """Whether a value reaches an output of the model with no weighted operator on the way."""
    stack, visited = [value], set()
    while stack:
        current = stack.pop()
        if current.is_graph_output():
            return True
        for use in current.uses():
            if use.node not in visited and use.node.op_type not in weighted:
                visited.add(use.node)
                stack.extend(use.node.outputs)
    return False


def becomes_peaks(value: ir.Value) -> bool:
    """Whether a value is compared with the largest around it, as that of a heat map whose peaks are objects.

    In 8 bits neighbours are equal, so that each of them is the largest: of a small CenterNet's scores 13.9 dB were
    left, where 43.6 are with a float head (CHANGELOG).
    """
    pooled = _in_order({value}, frozenset({"MaxPool"})) - _in_order({value})
    either = _in_order({value}), _in_order(pooled)
    uses = [{use.node for one in values for use in one.uses() if use.node.op_type in _COMPARES} for values in either]
    return not uses[0].isdisjoint(uses[1])


def _in_order(values: set[ir.Value], also: frozenset[str] = frozenset()) -> set[ir.Value]:
    """What is made of the values by operators that keep the order of neighbours, themselves among it."""
    stack, found = list(values), set(values)
    while stack:
        for use in stack.pop().uses():
            if use.idx == 0 and use.node.op_type in _KEEPS_ORDER | also and use.node.outputs[0] not in found:
                found.add(use.node.outputs[0])
                stack.append(use.node.outputs[0])
    return found


def _becomes_tokens(node: ir.Node) -> bool:
    """Whether the node works on tokens, or what it gives is read by one that does, sooner or later."""
    stack, visited = [node], {node}
    while stack:
        current = stack.pop()
        if _works_on_tokens(current):
            return True
        following = {use.node for value in current.outputs for use in value.uses()} - visited
        visited |= following
        stack.extend(following)
    return False


def _works_on_tokens(node: ir.Node) -> bool:
    weighs = node.op_type in PRODUCTS and any(constant(value) is not None for value in node.inputs[:2])
    return weighs or node.op_type in TOKENWISE
