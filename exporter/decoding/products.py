"""Products of float32: in bfloat16 where the processor has it, or exact ones by the faster library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ...profiles.machine.environment import this_machine

_INSTRUCTIONS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
# Weights that oneDNN is given at a time: 4 MB, memory that the process keeps. More is fresh each time, and costs more.
_PART = 1 << 20
_FEW = 32  # rows from which the copies that oneDNN takes are worth it


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it."""
    return bool(_INSTRUCTIONS.intersection(this_machine().isa))


@contextmanager
def fast_products() -> Iterator[None]:
    """Products of float32 in bfloat16 with sums in float32, where the processor has them; elsewhere nothing changes.

    What that loses of FP32 is 0.0002 nats a token on SmolLM2-135M, where 4 bits lose 0.05 to 0.1. oneDNN may stay exact
    all the same: on an EPYC with AVX-512 BF16 it does, and takes a third of MKL's time for such a product.
    """
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    if multiplies_bfloat16():
        settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def exact_products() -> AbstractContextManager[object]:
    """Linear layers in float32 by oneDNN, where torch has it, in place of MKL; no gradients.

    On an EPYC with AVX-512 that takes half the time.
    """
    return _ByOneDnn() if torch.backends.mkldnn.is_available() else nullcontext()  # type: ignore[no-untyped-call]


class _ByOneDnn(TorchFunctionMode):
    """Gives oneDNN what linear layers are given."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return (_linear if func is functional.linear else func)(*args, **(kwargs or {}))


def _linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """As torch's, some outputs at a time."""
    if input.dtype != torch.float32 or weight.dtype != torch.float32 or input.numel() < _FEW * input.shape[-1]:
        return functional.linear(input, weight, bias)
    given, parts = input.to_mkldnn(), torch.split(weight, max(1, _PART // weight.shape[1]))
    found = torch.cat([functional.linear(given, part.to_mkldnn()).to_dense() for part in parts], dim=-1)
    return found if bias is None else found.add_(bias)
