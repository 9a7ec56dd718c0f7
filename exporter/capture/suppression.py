"""Non-maximum suppression as plain ONNX: how both of torch's exporters write `edgepress.boxes.suppress`.

NonMaxSuppression lists the boxes that stay, as many as there are; their scores are put back to their places among
zeros, so that all sizes behind it are known: TopK of that is a fixed number of rows on every runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NAME = "edgepress::suppress"


def translations() -> dict[Any, Callable[..., Any]]:
    """For the newer exporter, by torch's operator."""
    import torch

    from ... import boxes  # noqa: F401 (it registers the operator)

    return {torch.ops.edgepress.suppress.default: _by_onnxscript}


def symbolics() -> dict[str, Callable[..., Any]]:
    """For the tracing exporter, by the operator's name."""
    return {NAME: _by_tracing}


def _by_onnxscript(boxes: Any, scores: Any, iou: float, score: float, most: int) -> Any:
    from onnxscript import opset18 as op

    places = op.NonMaxSuppression(
        boxes,
        scores,
        op.Constant(value_ints=[most]),
        op.Constant(value_floats=[iou]),
        op.Constant(value_floats=[score]),
    )
    # Without `value` it makes zeros of float32.
    zeros = op.ConstantOfShape(op.Shape(scores))
    return op.ScatterND(zeros, places, op.GatherND(scores, places))


def _by_tracing(g: Any, boxes: Any, scores: Any, iou: Any, score: Any, most: Any) -> Any:
    import torch
    from torch.onnx import symbolic_helper

    helper: Any = symbolic_helper

    def constant(value: Any, kind: str, dtype: torch.dtype) -> Any:
        return g.op("Constant", value_t=torch.tensor([helper._get_const(value, kind, "")], dtype=dtype))

    limits = constant(most, "i", torch.int64), constant(iou, "f", torch.float32), constant(score, "f", torch.float32)
    places = g.op("NonMaxSuppression", boxes, scores, *limits)
    zeros = g.op("ConstantOfShape", g.op("Shape", scores))
    kept = g.op("ScatterND", zeros, places, g.op("GatherND", scores, places))
    kept.setType(scores.type())
    return kept
