"""What torchvision declares in C++, declared anew: its wheel is linked with another build of torch than that for CPUs.

Only the names are needed, so that it can be imported; a model that calls one of them fails, and says which.
"""

from __future__ import annotations

from functools import cache

_DECLARED = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float scale, SymInt height, SymInt width, int ratio, bool aligned) -> Tensor",
    "qroi_align(Tensor input, Tensor rois, float scale, SymInt height, SymInt width, int ratio, bool aligned)"
    " -> Tensor",
    "roi_pool(Tensor input, Tensor rois, float scale, SymInt height, SymInt width) -> (Tensor, Tensor)",
    "ps_roi_pool(Tensor input, Tensor rois, float scale, SymInt height, SymInt width) -> (Tensor, Tensor)",
    "ps_roi_align(Tensor input, Tensor rois, float scale, SymInt height, SymInt width, int ratio) -> (Tensor, Tensor)",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h,"
    " SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups,"
    " SymInt offset_groups, bool use_mask) -> Tensor",
    "box_iou_rotated(Tensor boxes1, Tensor boxes2) -> Tensor",
    *(f"_{name}_backward(Tensor grad) -> Tensor" for name in ("roi_align", "roi_pool", "ps_roi_pool", "ps_roi_align")),
    "_deform_conv2d_backward(Tensor grad) -> Tensor",
)


@cache
def declare() -> object:
    """Make torchvision importable; what is returned has to live."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _DECLARED:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):  # somebody may have declared some of them
            library.define(schema)
    return library
