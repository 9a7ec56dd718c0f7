"""Why nothing of a model can be int8."""

from __future__ import annotations

from ...profiles.device.target import Scheme
from ..quantization.quantizer import Quantizer

# What a user knows as a layer with a weight.
_MULTIPLY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"})


def why_nothing(quantizer: Quantizer, scheme: Scheme) -> str:
    """The reasons, as clauses that semicolons join."""
    if reasons := sorted(set(quantizer.placement.left.values())):
        return "; ".join(reasons)
    graph = quantizer.model.graph
    here, all_of = ({node.op_type for node in nodes if node.domain == ""} for nodes in (graph, graph.all_nodes()))
    found = {
        f"this target has no integer kernel for {name}" for name in _MULTIPLY & here if name not in scheme.weighted
    }
    found |= {
        f"{name} is inside an If, a Loop or a Scan, whose bodies stay float" for name in _MULTIPLY & all_of - here
    }
    return "; ".join(sorted(found)) or "it has no convolution, matrix product, GEMM or recurrent layer"
