"""Attention for torch's legacy exporter, where its own form needs a later opset or stops: causal masks, shared heads.

Torch 2.13 writes a causal mask with Trilu, which is of opset 14, and refuses `enable_gqa`.
"""

from __future__ import annotations

from typing import Any


def attention(
    g: Any,
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    dropout: Any = None,
    causal: Any = None,
    scale: Any = None,
    grouped: Any = None,
) -> Any:
    """`aten::scaled_dot_product_attention` as torch's own form has it, with what that lacks made plain before."""
    import torch
    from torch.onnx import symbolic_helper, symbolic_opset14

    helper: Any = symbolic_helper
    never = g.op("Constant", value_t=torch.tensor(False))
    if grouped is not None and helper._get_const(grouped, "b", "enable_gqa"):
        key, value = (_for_each_head(g, helper, query, shared) for shared in (key, value))
    if helper._get_const(causal, "b", "is_causal"):
        mask, causal = _causal(g, query, key), never
    return symbolic_opset14.scaled_dot_product_attention(
        g, query, key, value, mask, dropout, causal, scale, *([] if grouped is None else [never])
    )


def _for_each_head(g: Any, helper: Any, query: Any, shared: Any) -> Any:
    """Heads of keys or values as often as heads of queries share them, side by side: axis 1 of four."""
    import torch

    heads, has = (helper._get_tensor_dim_size(each, -3) for each in (query, shared))
    if not heads or not has:
        raise NotImplementedError("enable_gqa with a number of heads that is not known")
    places = torch.arange(has).repeat_interleave(heads // has)
    return g.op("Gather", shared, g.op("Constant", value_t=places), axis_i=helper._get_tensor_rank(shared) - 3)


def _causal(g: Any, query: Any, key: Any) -> Any:
    """What is added to the scores: -inf where a key comes after its query, (queries, keys)."""
    import torch

    def constant(value: Any) -> Any:
        return g.op("Constant", value_t=torch.tensor(value))

    def places(of: Any, axis: int) -> Any:
        count = g.op("Gather", g.op("Shape", of), constant(-2), axis_i=0)
        return g.op("Unsqueeze", g.op("Range", constant(0), count, constant(1)), constant([axis]))

    later = g.op("Less", places(query, 1), places(key, 0))
    return g.op("Where", later, constant([-float("inf")]), constant([0.0]))
