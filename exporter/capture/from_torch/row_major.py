"""Views of memory that change nothing, by torch's exporter: pooling an image in the order of bytes makes one.

Where its input is in `channels_last`, as that of a model whose forward permutes NHWC images, torch writes the result of
AdaptiveAvgPool2d(1) as `as_strided`, which says how it lies in memory. The exporter makes a Gather of single numbers of
it. OpenVINO 2026.4.1 computed one wrongly in int8 (123 dB before it, 9 dB behind).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def translations() -> dict[Any, Callable[..., Any]]:
    """For the newer exporter, by torch's operator."""
    import torch

    return {torch.ops.aten.as_strided.default: _as_strided}


def _as_strided(self: Any, size: Sequence[int], stride: Sequence[int], storage_offset: Any = None) -> Any:
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops.core import aten_as_strided

    if self.shape is not None and storage_offset in (None, 0) and changes_nothing(tuple(self.shape), size, stride):
        return op.Identity(self)
    return aten_as_strided(self, size, stride, storage_offset)


def changes_nothing(shape: Sequence[Any], size: Sequence[Any], stride: Sequence[Any]) -> bool:
    """Whether a view has the shape of what it views, and its elements in the same order.

    An axis of one element may have any stride. Sizes that are free are those of the same axis where they stand at the
    same place; strides over them are not known, so that all of what lies behind must be fixed.

    Args:
        shape: of what is viewed; a free size is no integer.
        size, stride: of the view, in elements.
    """
    if len(shape) != len(size):
        return False
    expected: int | None = 1
    for seen, wanted, step in zip(reversed(shape), reversed(size), reversed(stride), strict=True):
        fixed = isinstance(seen, int) and isinstance(wanted, int)
        if (fixed and seen != wanted) or isinstance(seen, int) != isinstance(wanted, int):
            return False
        if not (fixed and wanted == 1) and (expected is None or step != expected):
            return False
        expected = expected * wanted if fixed and expected is not None else None
    return True
