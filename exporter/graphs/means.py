"""What layers give in the mean over samples, channel by channel."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ...backends.base import Array, Feed
from ...backends.places import Reference
from .files import BESIDE, write_model
from .names import free_name, value_names

if TYPE_CHECKING:
    import onnx_ir as ir

# One value a channel, which is the second axis.
Means: TypeAlias = npt.NDArray[np.float64]


def channel_means(arrays: Sequence[Array]) -> Means:
    """Over the places of each sample, and then over all samples, which are the first axis."""
    # Along axes that lie together numpy adds pairwise, which loses nothing that counts in float32.
    samples = [array.mean(axis=tuple(range(2, array.ndim))) for array in arrays]
    return np.asarray(np.concatenate(samples).mean(axis=0, dtype=np.float64))


def layer_means(model: ir.Model, operators: Collection[str], feeds: Sequence[Feed], path: Path) -> dict[str, Means]:
    """Of the result of each node of these types, by its name.

    Args:
        model: of float32, whose results are such of channels; the means of places become its outputs.
        path: a file for it.
    """
    layers = [node for node in model.graph if node.op_type in operators and node.domain == ""]
    names = dict(zip((str(node.name) for node in layers), _pooled(model.graph, layers), strict=True))
    write_model(model, path, BESIDE)
    with Reference().values(path, kernels="float") as run:
        found = [run(feed, list(names.values())) for feed in feeds]
    return {layer: channel_means([values[name] for values in found]) for layer, name in names.items()}


def _pooled(graph: ir.Graph, layers: Sequence[ir.Node]) -> list[str]:
    """Give the graph the results in place of its outputs, those of convolutions in the mean; their names."""
    import onnx_ir as ir

    taken, results = value_names(graph), []
    for node in layers:
        (result,) = node.outputs
        if node.op_type == "Conv":
            # Maps would leave the graph whole, each of them kept until all are there.
            pool = ir.node("GlobalAveragePool", [result])
            graph.append(pool)
            (result,) = pool.outputs
            result.name = free_name(f"{node.name}_mean", taken)
            taken.add(result.name)
        results.append(result)
    graph.outputs[:] = results
    return [str(result.name) for result in results]
