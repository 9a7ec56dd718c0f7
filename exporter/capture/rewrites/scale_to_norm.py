"""Write what scales and shifts each channel of an image as one BatchNormalization.

`(x / 255 - mean) / std` is three passes over an image. In int8 onnxruntime 1.31 moves the image's Transpose behind
them, so that its convolutions read [N, H, W, C]; constants of three channels then repeat along the innermost axis,
which its kernels do an element at a time: 1.3 ms at 224x224, beside an engine of 0.7. It does not move a Transpose over
a BatchNormalization, whose kernel works a plane at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.names import value_names
from ...graphs.values import add_constant, single_consumer
from ...sources.parts import AROUND
from .by_channel import ChannelStep, Wide, step_of

if TYPE_CHECKING:
    import onnx_ir as ir

RANK = 4  # of an image, its channels on axis 1


def scale_to_norm(model: ir.Model) -> int:
    """Rewrite in place each chain of arithmetic with a constant a channel in `preprocess()`; returns how many.

    A chain of constants that all channels share is left as it is: nothing repeats there.
    """
    done = 0
    for node in list(model.graph):
        if node.graph is None or (chain := _chain(node)) is None:
            continue
        nodes, factor, offset = chain
        _replace(model.graph, nodes, factor, offset)
        done += 1
    return done


def _chain(first: ir.Node) -> tuple[list[ir.Node], Wide, Wide] | None:
    """The longest chain that begins here, and what it computes of x: `x * factor + offset`, by channel."""
    value = first.inputs[0] if first.inputs else None
    if value is None or value.shape is None or value.shape.rank() != RANK or not isinstance(value.shape[1], int):
        return None
    channels = value.shape[1]
    before = value.producer()
    if before is not None and _step(before, channels) is not None:
        return None  # the chain begins before it
    nodes: list[ir.Node] = []
    factor, offset, node = np.ones(channels), np.zeros(channels), first
    while (step := _step(node, channels)) is not None:
        nodes.append(node)
        factor, offset = step.factor * factor, step.factor * offset + step.offset
        following = single_consumer(node.outputs[0])
        if following is None or following.inputs[0] is not node.outputs[0]:
            break
        node = following
    by_channel = len(set(factor)) > 1 or len(set(offset)) > 1
    return (nodes, factor, offset) if nodes and by_channel else None


def _step(node: ir.Node, channels: int) -> ChannelStep | None:
    """One node around the network, whose first input is the image; None where it is something else."""
    if not (node.name or "").startswith(AROUND[0]):
        return None
    step = step_of(node, channels, RANK)
    return step if step is not None and step.value is node.inputs[0] else None


def _replace(graph: ir.Graph, nodes: list[ir.Node], factor: Wide, offset: Wide) -> None:
    import onnx_ir as ir

    value, result = nodes[0].inputs[0], nodes[-1].outputs[0]
    assert value is not None
    taken = value_names(graph)
    arrays = {"scale": factor, "shift": offset, "mean": np.zeros_like(factor), "variance": np.ones_like(factor)}
    constants = [
        add_constant(graph, f"{result.name}_{name}", array.astype(np.float32), taken) for name, array in arrays.items()
    ]
    # Epsilon 0 keeps the scale as it is: the variance is 1.
    norm = ir.node(
        "BatchNormalization",
        [value, *constants],
        attributes={"epsilon": 0.0},
        name=f"{AROUND[0]}/BatchNormalization",
    )
    norm.outputs[0].type, norm.outputs[0].shape = result.type, result.shape
    name = result.name
    ir.convenience.replace_nodes_and_values(graph, nodes[0], nodes, [norm], [result], [norm.outputs[0]])
    norm.outputs[0].name = name
