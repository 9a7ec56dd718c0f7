"""Non-maximum suppression as plain ONNX, by both of torch's exporters: that of `edgepress.boxes` and of torchvision.

Of `edgepress.boxes`, NonMaxSuppression lists the boxes that stay, as many as there are; their scores are put back to
their places among zeros, so that all sizes behind it are known: TopK of that is a fixed number of rows on every
runtime. That of torchvision gives the places themselves, as many as there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OURS, TORCHVISION = "edgepress::suppress", "torchvision::nms"
# More than any class has; the largest of 64 bits that torchvision's own form asks for is -1 to who reads 32.
ALL = 2**31 - 1


def translations() -> dict[Any, Callable[..., Any]]:
    """For the newer exporter, by torch's operator."""
    import torch

    from .... import boxes  # noqa: F401 (it registers the operator)

    found: dict[Any, Callable[..., Any]] = {torch.ops.edgepress.suppress.default: _suppress}
    if hasattr(torch.ops.torchvision, "nms"):  # where torchvision was imported
        found[torch.ops.torchvision.nms.default] = _nms
    return found


def symbolics() -> dict[str, Callable[..., Any]]:
    """For the tracing exporter, by the operator's name."""
    return {OURS: _traced_suppress, TORCHVISION: _traced_nms}


def _suppress(boxes: Any, scores: Any, iou: float, score: float, most: int) -> Any:
    from onnxscript import opset18 as op

    limits = (op.Constant(value_ints=[most]), op.Constant(value_floats=[iou]), op.Constant(value_floats=[score]))
    places = op.NonMaxSuppression(boxes, scores, *limits)
    # Without `value` it makes zeros of float32.
    zeros = op.ConstantOfShape(op.Shape(scores))
    return op.ScatterND(zeros, places, op.GatherND(scores, places))


def _nms(boxes: Any, scores: Any, iou: float) -> Any:
    from onnxscript import opset18 as op

    one_picture, one_class = op.Constant(value_ints=[0]), op.Constant(value_ints=[0, 1])
    limits = (op.Constant(value_ints=[ALL]), op.Constant(value_floats=[iou]))
    places = op.NonMaxSuppression(op.Unsqueeze(boxes, one_picture), op.Unsqueeze(scores, one_class), *limits)
    return op.Gather(places, op.Constant(value_int=2), axis=1)


def _traced_suppress(g: Any, boxes: Any, scores: Any, iou: Any, score: Any, most: Any) -> Any:
    import torch

    limits = (_constant(g, [_read(most, "i")], torch.int64), *(_constant(g, [_read(v, "f")]) for v in (iou, score)))
    places = g.op("NonMaxSuppression", boxes, scores, *limits)
    zeros = g.op("ConstantOfShape", g.op("Shape", scores))
    kept = g.op("ScatterND", zeros, places, g.op("GatherND", scores, places))
    kept.setType(scores.type())
    return kept


def _traced_nms(g: Any, boxes: Any, scores: Any, iou: Any) -> Any:
    import torch
    from torch.onnx import symbolic_helper

    helper: Any = symbolic_helper
    one_picture, one_class = helper._unsqueeze_helper(g, boxes, [0]), helper._unsqueeze_helper(g, scores, [0, 1])
    limits = _constant(g, [ALL], torch.int64), _constant(g, [_read(iou, "f")])
    places = g.op("NonMaxSuppression", one_picture, one_class, *limits)
    return g.op("Gather", places, g.op("Constant", value_t=torch.tensor(2)), axis_i=1)


def _read(value: Any, kind: str) -> Any:
    from torch.onnx import symbolic_helper

    helper: Any = symbolic_helper
    return helper._get_const(value, kind, "")


def _constant(g: Any, values: list[Any], dtype: Any = None) -> Any:
    import torch

    return g.op("Constant", value_t=torch.tensor(values, dtype=dtype or torch.float32))
