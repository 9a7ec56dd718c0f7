"""Multiply-accumulates of a torch module: the one count that ratios, rankings and reports use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...backends.base import Array
from ..sources.torch_module import call

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Macs:
    """Multiply-accumulates of one forward pass.

    Attributes:
        total: of the whole module.
        own: of each submodule by name, without those of its children; the module itself is the empty name.
    """

    total: int
    own: Mapping[str, int]


def count_macs(module: nn.Module, feed: Mapping[str, Array]) -> Macs:
    """Count convolutions and matrix products, those of attention included, as torch dispatches them for this feed.

    Half of what `torch.utils.flop_counter` counts, which takes a multiply-accumulate for two operations.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # Fused attention kernels of the CPU are not counted; their written-out form is.
    with sdpa_kernel(SDPBackend.MATH), counter:
        call(module, feed)
    root = type(module).__name__
    cumulated = {
        name.removeprefix(root).removeprefix("."): sum(counts.values()) // 2
        for name, counts in counter.get_flop_counts().items()
        if name != "Global"
    }
    own = dict(cumulated)
    for name, macs in cumulated.items():
        if name and (parent := _parent(name, cumulated)) is not None:
            own[parent] -= macs
    return Macs(total=counter.get_total_flops() // 2, own=own)


def _parent(name: str, known: Mapping[str, int]) -> str | None:
    """The nearest module above that was counted; a ModuleList between them is never called."""
    while name:
        name = name.rpartition(".")[0]
        if name in known:
            return name
    return None
