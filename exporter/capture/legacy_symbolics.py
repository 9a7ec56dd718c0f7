"""Where torch's legacy exporter is wrong or stops too early: operators it is taught while it runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .suppression import symbolics


@contextlib.contextmanager
def legacy_corrected(opset: int) -> Iterator[None]:
    """Inside, the legacy exporter keeps free axes through `unflatten` and has attention at opset 13 too.

    Both matter to `torch.nn.MultiheadAttention`. The fused encoder, which has no ONNX form, is switched off as well.
    """
    import torch
    from torch.onnx import utils

    fused = torch.backends.mha.get_fastpath_enabled()
    corrections = _corrections(opset)
    torch.backends.mha.set_fastpath_enabled(False)
    for name, symbolic in corrections.items():
        utils.register_custom_op_symbolic(name, symbolic, opset)
    try:
        with _no_output():
            yield
    finally:
        for name in corrections:
            utils.unregister_custom_op_symbolic(name, opset)
        torch.backends.mha.set_fastpath_enabled(fused)


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


def _corrections(opset: int) -> dict[str, Callable[..., Any]]:
    from torch.onnx import symbolic_opset14

    found: dict[str, Callable[..., Any]] = {"aten::unflatten": _unflatten, **symbolics()}
    if opset < 14:
        # It is registered from 14 on, though all that it emits is in 13 as well.
        found["aten::scaled_dot_product_attention"] = symbolic_opset14.scaled_dot_product_attention
    return found


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
    before = [constant(*[0] * axis)] if axis else []  # Reshape copies the size where 0 is asked
    after = [g.op("Slice", g.op("Shape", x), constant(axis + 1), constant(rank))] if axis + 1 < rank else []
    return helper._reshape_helper(g, x, g.op("Concat", *before, *inner, *after, axis_i=0), allowzero=0)
