"""2:4 sparsity of a graph: two zeros in each four weights along the input channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import VerificationError
from ...profiles.findings.pruning import Sparsity

if TYPE_CHECKING:
    import onnx_ir as ir

GROUP, ZEROS = 4, 2
_PASSED = ("DequantizeLinear", "QuantizeLinear", "Cast", "Identity")


def found_sparsity(path: Path) -> Sparsity:
    """What `graph_sparsity` finds, which must be something.

    Raises:
        VerificationError: no layer of the graph is 2:4.
    """
    found = graph_sparsity(path)
    if not found.sparse:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(found.dense.items())[:5])
        raise VerificationError(
            f"No layer of the graph has 2:4 sparse weights ({reasons or 'it has no convolution or matrix product'}).",
            hint="Export without --sparse.",
        )
    return found


def graph_sparsity(path: Path) -> Sparsity:
    """Which weights of an ONNX graph are 2:4, as they are stored there, quantized or not."""
    import onnx_ir as ir

    dense: dict[str, str] = {}
    total = 0
    for node in ir.load(path).graph:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.inputs) < 2:
            continue
        weight, axis = _weight(node)
        if weight is None:
            continue
        total += 1
        if reason := _dense(weight, axis, node):
            dense[str(node.name)] = reason
    return Sparsity(sparse=total - len(dense), total=total, dense=dense)


def _weight(node: ir.Node) -> tuple[npt.NDArray[Any] | None, int]:
    """The constant weight of a node, as it is stored, and the axis of its input channels; None where it has none."""
    import onnx_ir as ir

    axis = 1 if node.op_type == "Conv" else -2
    if node.op_type == "Gemm":
        axis = 1 if node.attributes.get_int("transB", 0) else 0
    value: ir.Value | None = node.inputs[1]
    while value is not None and (maker := value.producer()) is not None:
        if maker.op_type == "Transpose":
            order = list(maker.attributes.get_ints("perm", range(len(value.shape or ()) - 1, -1, -1)))
            axis = order[axis]
        elif maker.op_type not in _PASSED:
            return None, axis
        value = maker.inputs[0]
    constant = None if value is None else ir.convenience.get_const_tensor(value)
    return (None if constant is None else constant.numpy()), axis


def _dense(weight: npt.NDArray[Any], axis: int, node: ir.Node) -> str:
    if node.op_type == "Conv" and node.attributes.get_int("group", 1) > 1:
        return "it is a grouped convolution"
    last = np.moveaxis(weight, axis, -1)
    if last.shape[-1] % GROUP:
        return f"its {last.shape[-1]} input channels are not divisible by {GROUP}"
    zeros = (last.reshape(-1, GROUP) == 0).sum(axis=1)
    full = float((zeros < ZEROS).mean())
    return f"{full:.1%} of its fours have fewer than {ZEROS} zeros" if full else ""
