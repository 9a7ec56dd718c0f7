"""Weights that a file stores without their zeros, as whole ones: onnx_ir reads no others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx


def make_dense(model: onnx.ModelProto, directory: Path) -> None:
    """Make initializers of all sparse ones, in bodies of If, Loop and Scan too, and values of sparse constants.

    Args:
        model: changed in place.
        directory: where external data lie.
    """
    _in_graph(model.graph, str(directory))
    for function in model.functions:
        _in_nodes(function.node, str(directory))


def _in_graph(graph: Any, directory: str) -> None:
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_whole(sparse, directory))
    del graph.sparse_initializer[:]
    _in_nodes(graph.node, directory)


def _in_nodes(nodes: Any, directory: str) -> None:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.HasField("sparse_tensor"):
            whole = _whole(attribute.sparse_tensor, directory)
            attribute.ClearField("sparse_tensor")
            attribute.name, attribute.type = "value", type(attribute).TENSOR
            attribute.t.CopyFrom(whole)
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            _in_graph(graph, directory)


def _whole(sparse: onnx.SparseTensorProto, directory: str) -> onnx.TensorProto:
    """Places are along the whole tensor, or one for each axis."""
    from onnx import numpy_helper

    values, places = (numpy_helper.to_array(part, directory) for part in (sparse.values, sparse.indices))
    shape = tuple(sparse.dims)
    array = np.zeros(math.prod(shape), values.dtype)
    array[places if places.ndim == 1 else np.ravel_multi_index(tuple(places.T), shape)] = values
    return numpy_helper.from_array(array.reshape(shape), sparse.values.name)
