"""Where torch's legacy exporter is wrong or stops too early: operators it is taught while it runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from . import adaptive_pool, divided_pool, spelled_out
from .fast_path import without_fast_path
from .legacy_attention import attention
from .suppression import symbolics


@contextlib.contextmanager
def legacy_corrected(opset: int) -> Iterator[None]:
    """Inside, the legacy exporter keeps free axes through `unflatten` and has attention at opset 13 too.

    Both matter to `torch.nn.MultiheadAttention`. The fused encoder, which has no ONNX form, is switched off, and
    operators that it lacks are spelled out.
    """
    from torch.onnx import utils

    corrections = _corrections()
    for name, symbolic in corrections.items():
        utils.register_custom_op_symbolic(name, symbolic, opset)
    try:
        with _no_output(), without_fast_path(), spelled_out.spelled_out():
            yield
    finally:
        for name in corrections:
            utils.unregister_custom_op_symbolic(name, opset)


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Nothing reaches the process's standard output: on failure torch prints the whole graph there from C++.

    Its own switch for that has no effect (torch 2.13 tests the function instead of calling it).
    """
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _corrections() -> dict[str, Callable[..., Any]]:
    return {
        "aten::unflatten": _unflatten,
        "aten::scaled_dot_product_attention": attention,
        **symbolics(),
        **adaptive_pool.symbolics(),
        **divided_pool.symbolics(),
        **spelled_out.symbolics(),
    }


def _unflatten(g: Any, x: Any, dim: Any, sizes: Any) -> Any:
    """Reshape with the sizes at hand; torch's own reads the example's sizes behind it as constants (torch 2.13)."""
    import torch
    from torch.onnx import symbolic_helper

    helper: Any = symbolic_helper

    def constant(*values: int) -> Any:
        return g.op("Constant", value_t=torch.tensor(values, dtype=torch.int64))

    rank = helper._get_tensor_rank(x)
    axis = helper._get_const(dim, "i", "dim")
    axis = axis + rank if axis < 0 else axis
    inner = (
        [helper._reshape_helper(g, size, constant(1)) for size in helper._unpack_list(sizes)]
        if (helper._is_packed_list(sizes))
        else [sizes]
    )
    # Reshape copies the size where 0 is asked. Torch's inference of shapes, however, aborts on constants with a 0 and
    # without a -1 (torch 2.13): the first size then is what is left.
    known = helper._maybe_get_const(sizes, "is")
    if helper._is_packed_list(sizes):
        known = [helper._maybe_get_const(size, "i") for size in helper._unpack_list(sizes)]
    left = axis > 0 and isinstance(known, list) and all(isinstance(size, int) and size > 0 for size in known)
    before = [constant(*[-1] * left, *[0] * (axis - left))] if axis else []
    after = [g.op("Slice", g.op("Shape", x), constant(axis + 1), constant(rank))] if axis + 1 < rank else []
    return helper._reshape_helper(g, x, g.op("Concat", *before, *inner, *after, axis_i=0), allowzero=0)
