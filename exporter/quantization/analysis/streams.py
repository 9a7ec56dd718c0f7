"""Where the result of a convolution goes: into a transformer's tokens, or out of the model."""

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
