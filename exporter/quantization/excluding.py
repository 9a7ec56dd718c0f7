"""What the user excludes from quantization: node names, operator types, and patterns of either."""

from __future__ import annotations

from collections.abc import Sequence

from ...backends.base import Graph
from ...errors import InputError
from ...profiles.device.target import Scheme
from ...profiles.reading.near import did_you_mean
from ..graphs.files import read_model
from .analysis.placement import excluded
from .quantizer import Quantizer

_SHOWN = 10  # layers named where no name is near


def check_patterns(patterns: Sequence[str], graph: Graph, scheme: Scheme | None) -> None:
    """Refuse patterns that leave nothing in float: the layer that a misspelt one means would be rounded all the same.

    An operator of ONNX that the model does not use is none of them, so that one recipe serves several models.

    Args:
        graph: as it was captured.
        scheme: of the target, None where it has no int8; what it makes of layers has names too, which reports show.

    Raises:
        InputError: one matches neither a node nor an operator; the near names are given.
    """
    from onnx import defs

    left = [pattern for pattern in patterns if not defs.has(pattern)]
    nodes = list(read_model(graph.path).graph.all_nodes()) if left else []
    left = [pattern for pattern in left if not any(excluded(node, (pattern,)) for node in nodes)]
    if left and scheme is not None:
        nodes += Quantizer.of(graph, scheme).model.graph.all_nodes()
        left = [pattern for pattern in left if not any(excluded(node, (pattern,)) for node in nodes)]
    if left:
        layers = dict.fromkeys(str(n.name) for n in nodes if scheme is None or n.op_type in scheme.weighted)
        known = dict.fromkeys(text for node in nodes for text in (str(node.name), node.op_type))
        shown = f"Its layers are {', '.join([*layers][:_SHOWN])}{' and others' if len(layers) > _SHOWN else ''}."
        raise InputError(
            f"--exclude {left[0]} matches no node of the graph and no operator.",
            hint=did_you_mean(left[0], known, otherwise=shown),
        )
