"""Add to each bias what all that is rounded before it takes from the mean of the output, as samples show it.

A value that occurs often, such as the background of a picture, is rounded to the same side wherever it occurs. That
does not average out: it moves the mean of what a layer gives, and pooling leaves nothing but that. By how much hangs on
the last digits of a scale. So float graph and rounded graph run on the same samples, layer after layer, and each bias
takes up the difference before the next layer is looked at (Nagel et al. 2019, appendix D).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....backends.base import Feed
from ....calibration.statistics import TensorStatistics
from ....profiles.device.target import Scheme
from ....profiles.machine.held import temporary
from ...graphs.means import Means, channel_means
from ...graphs.names import value_names
from ...graphs.values import add_constant, constant, drop_unused
from ...graphs.walk import Walk
from ..analysis.placed import Placement
from ..emitter import BIAS_INPUT, INT32_MAX
from .correct_bias import CORRECTED, bias_of
from .lifted import Lifted

if TYPE_CHECKING:
    import onnx_ir as ir


def lift(graph: ir.Graph, placement: Placement, statistics: Mapping[str, TensorStatistics], scheme: Scheme) -> Lifted:
    """Nothing yet; once the graph is rounded, rewrite the bias of every Conv and Gemm of integers that has one."""
    if any(node.graph is not graph for node in graph.all_nodes()):
        return Lifted()  # a body of If or Loop may read anything, at any time
    layers = [
        str(site.node.name)
        for site in placement.weights
        if site.node.op_type in CORRECTED and (bias := bias_of(site.node)) is not None and bias.ndim == 1
    ]
    return Lifted(note=f"{len(layers)} layers", finish=partial(correct, frozenset(layers))) if layers else Lifted()


def correct(layers: Collection[str], rounded: ir.Model, meant: Mapping[str, Means], examples: Sequence[Feed]) -> None:
    """Rewrite in place the biases of the rounded graph.

    Args:
        layers: names of the nodes.
        meant: what they give in the float graph, among others.
        examples: calibration data, not those that the result is judged on.
    """
    with temporary() as scratch:
        taken, walk = value_names(rounded.graph), Walk(rounded, examples, scratch / "piece.onnx")
        for node in [node for node in rounded.graph if node.name in layers]:
            values = walk.until(node)
            lacks = meant[str(node.name)] - channel_means(values)
            added = _add(rounded.graph, taken, node, np.where(np.isfinite(lacks), lacks, 0.0))
            for value in values:
                np.add(value, added.reshape(-1, *[1] * (value.ndim - 2)), out=value)


def _add(graph: ir.Graph, taken: set[str], node: ir.Node, lacks: Means) -> npt.NDArray[np.float32]:
    """Add to a bias as much as it can hold of this; returns that."""
    bias = node.inputs[BIAS_INPUT]
    assert bias is not None
    if (present := constant(bias)) is not None:
        added = lacks.astype(np.float32)
        node.replace_input_with(BIAS_INPUT, add_constant(graph, f"{bias.name}_means", present + added, taken))
        drop_unused(graph, bias)
        return added
    dequantize = bias.producer()
    assert dequantize is not None
    stored = dequantize.inputs[0]
    integers, scales = constant(stored), constant(dequantize.inputs[1])
    assert stored is not None and integers is not None and scales is not None
    steps = np.divide(lacks, scales, out=np.zeros_like(lacks), where=scales > 0)
    # Half of what int32 holds is left to the products, as where biases are rounded.
    most = np.maximum(INT32_MAX / 2, np.abs(integers.astype(np.float64)))
    new = np.clip(np.rint(integers + steps), -most, most).astype(np.int32)
    dequantize.replace_input_with(0, add_constant(graph, f"{stored.name}_means", new, taken))
    drop_unused(graph, stored)
    return np.asarray((new.astype(np.float64) - integers) * scales, np.float32)
