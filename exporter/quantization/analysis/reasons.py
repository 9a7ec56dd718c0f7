"""Why a grid is too coarse for a layer: a few rules, each with the figures it rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ....backends.base import Array
from ....profiles.device.grid import Grid
from ...graphs.values import constant, number
from .weight_site import CONVOLUTIONS, WeightSite

# One channel this many times beyond the median one sets the step of all; a normal tensor stays below 3.
OUTLIER = 6.0
# The largest value over the root mean square, at which a uniform grid of so many bits is coarse; each bit more doubles
# it. A normal tensor has 4 to 5.
WIDE, WIDE_BITS = 10.0, 8
# dB by which noise must grow on its way to the model's output before that is a reason.
AMPLIFIED = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A layer's float weight.

    Attributes:
        grid: on which it is rounded.
        rows: (output channels, input channels and taps).
        sharing: the same values, those that share a scale in a row; what is left of a last block is left out.
        depthwise: a convolution with one input channel for each output.
    """

    grid: Grid
    rows: npt.NDArray[np.float32]
    sharing: npt.NDArray[np.float32]
    depthwise: bool

    @classmethod
    def of(cls, site: WeightSite, grid: Grid) -> Weight:
        """The weight of a site, after the lifts."""
        weight = constant(site.node.inputs[site.weight])
        assert weight is not None
        axis = site.axis if site.axis is not None else weight.ndim - 1
        rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        grouped = site.node.op_type in CONVOLUTIONS and number(site.node, "group", 1) > 1
        return cls(
            grid=grid,
            rows=rows,
            sharing=rows if grid.block is None else _blocks(weight, site.inner, grid.block),
            depthwise=bool(grouped and weight.shape[1] == 1),
        )

    @classmethod
    def of_rows(cls, rows: npt.NDArray[np.float32], grid: Grid) -> Weight:
        """A weight of one scale a row, (output channels, inputs)."""
        return cls(grid=grid, rows=rows, sharing=rows, depthwise=False)


def reason(weight: Weight, data: Array, axis: int, grid: Grid, tensor: str, own_db: float, output_db: float) -> str:
    """What makes a layer noisy, one clause.

    Args:
        data: what the layer reads, of some samples.
        axis: of the channels in `data`.
        grid: on which it is rounded.
        tensor: which of the two hurts more, `activation` or `weight`.
        own_db, output_db: SQNR of the layer's own output and of the model's, with this layer alone in int8.
    """
    found = _of_data(data.astype(np.float32), axis, grid) if tensor == "activation" else _of_weight(weight)
    if weight.depthwise:
        taps = weight.rows.shape[1]
        found.append(f"depthwise: {taps} products an output, over which rounding hardly averages out")
    if not found and output_db < own_db - AMPLIFIED:
        found.append(f"its place in the model: {own_db:.0f} dB at its own output become {output_db:.0f} dB at the end")
    return "; ".join(found) or "nothing stands out"


def _of_data(data: npt.NDArray[np.float32], axis: int, grid: Grid) -> list[str]:
    size = np.abs(data)
    channels = np.moveaxis(size, axis, -1).reshape(-1, data.shape[axis]).max(axis=0) if data.ndim else size
    found = _outlier(channels, "channel {channel} reaches {largest:.3g}, {times:.0f} times the median channel")
    peak, rms = float(size.max()), float(np.sqrt(np.square(data.astype(np.float64)).mean()))
    if rms and peak / rms >= _wide(grid):
        found.append(f"wide range: {data.min():.3g} to {data.max():.3g}, {peak / rms:.0f} times the RMS")
    return found


def _of_weight(weight: Weight) -> list[str]:
    text = "input channel {channel} of the weight reaches {largest:.3g}, {times:.0f} times the median one"
    found = _outlier(np.abs(weight.rows).max(axis=0), text)
    rms = np.sqrt(np.square(weight.sharing.astype(np.float64)).mean(axis=1))
    times = np.abs(weight.sharing).max(axis=1)[rms > 0] / rms[rms > 0]
    if times.size and np.median(times) >= _wide(weight.grid):
        part = "channel" if weight.grid.block is None else "block"
        found.append(f"wide range of the weight: its largest is {np.median(times):.0f} times the RMS of its {part}")
    return found


def _wide(grid: Grid) -> float:
    return WIDE * 2.0 ** (grid.depth - WIDE_BITS)


def _blocks(weight: npt.NDArray[np.float32], axis: int, block: int) -> npt.NDArray[np.float32]:
    """The whole blocks along an axis, one a row."""
    last = np.moveaxis(weight, axis, -1)
    block = min(block, last.shape[-1])
    return last[..., : last.shape[-1] // block * block].reshape(-1, block)


def _outlier(largest: npt.NDArray[np.float32], text: str) -> list[str]:
    """A channel far beyond the others, in the words of `text`."""
    middle, channel = float(np.median(largest)), int(np.argmax(largest))
    if largest.size < 3 or not middle or largest[channel] < OUTLIER * middle:
        return []
    values = {"channel": channel, "largest": float(largest[channel]), "times": float(largest[channel]) / middle}
    return [f"outlier channel: {text.format(**values)}"]
