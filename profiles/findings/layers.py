"""What a runtime says of the layers it compiled, and the int8 coverage that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of an opened engine, as its runtime reports it.

    Attributes:
        name: the name in the runtime; contains or equals the graph's node name where the runtime keeps it.
        operator: what it computes, in the runtime's word (`Convolution`, `QLinearConv`).
        kernel: the kernel that runs it (`brgconv_avx512_core_vnni_I8`), empty where the runtime does not tell.
        compute: it is a convolution, matrix product or GEMM.
        integer: its kernel multiplies integers.
        reason: why it does not, empty where integer or unknown.
        microseconds: mean time of one execution, None where the runtime does not tell.
    """

    name: str
    operator: str
    kernel: str
    compute: bool
    integer: bool
    reason: str = ""
    microseconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many compute layers run integer kernels."""

    integer: int
    total: int
    left: tuple[Layer, ...]

    @property
    def share(self) -> float:
        """Integer share of the compute layers, 0..1; 1 for an engine without any."""
        return self.integer / self.total if self.total else 1.0

    def __str__(self) -> str:
        return f"{self.integer} of {self.total} ({self.share:.0%})"


def untimed(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Without times: those of another machine's architecture say nothing of the device."""
    return tuple(replace(layer, microseconds=None) for layer in layers)


def coverage(layers: Sequence[Layer]) -> Coverage:
    """Count the compute layers that run integer kernels and keep those that do not."""
    compute = [layer for layer in layers if layer.compute]
    left = tuple(layer for layer in compute if not layer.integer)
    return Coverage(integer=len(compute) - len(left), total=len(compute), left=left)
