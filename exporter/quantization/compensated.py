"""Weights of a network rounded by what its layers read: the errors of one weight are made good by others.

Two streams run through the network on the same samples: its float graph, and the graph of integers with all that was
rounded before. For each layer the second moments of what it was meant to read and of what it reads decide the integers
that come nearest to what it was meant to give, as for decoders (`language.compensation`, where the mathematics is).
Scales stay as they are, and so does the form of the graph. A convolution is a matrix over its patches, one for each
group; a bias takes up the mean.

The first layers are rounded first. Between the stages the second stream is run anew, so that later layers meet what
earlier ones have become.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from ...backends.base import Array, Feed
from ...backends.places import Reference
from ...calibration.affine import weight_scales
from ...calibration.statistics import Statistics
from ...profiles.device.grid import Grid
from ..graphs.files import BESIDE, write_model
from ..graphs.values import constant, expose
from ..language.compensation import ReadMoments, compensate_by, damp, inverse_factor, moved_by
from ..language.rounding import middle
from .analysis.weight_site import WeightSite
from .fitted import FittedWeight, weight_digest
from .lifts.correct_bias import bias_of, undo
from .patches import columns_of_weight, rows_read
from .quantizer import Quantizer

if TYPE_CHECKING:
    import onnx_ir as ir

# Into so many parts the layers are divided, of which each is rounded with those before it as they will be.
STAGES = 12
# Second moments of so many columns are 268 MB, and there are several of them.
MOST_COLUMNS = 8192
# Second moments of the groups of a convolution that are factored at once: 67 MB in float64.
_AT_ONCE = 1 << 23
FittedWeights = dict[str, FittedWeight]
_Floats: TypeAlias = npt.NDArray[np.float32]
# A quantizer of the float graph with these weights fitted, fresh.
Fresh = Callable[[FittedWeights], Quantizer]


def fit_weights(
    fresh: Fresh,
    statistics: Statistics,
    feeds: Sequence[Feed],
    scratch: Path,
    tell: Callable[[str], None] = lambda note: None,
) -> tuple[FittedWeights, dict[str, str]]:
    """Round the weights of the layers of integers, stage by stage.

    Args:
        statistics: what lifts and ranges come of.
        feeds: calibration data, not those that the result is judged on.

    Returns:
        The weights by layer, and why the others were left as the nearest integers.
    """
    lifted = fresh({})
    lifted.lift(statistics)
    # Without what lifts add to biases for the rounding of weights.
    undo(lifted.model.graph, lifted.biases)
    grid = lifted.scheme.weight
    sites = {str(site.node.name): site for site in lifted.placement.weights}
    why = {name: reason for name, site in sites.items() if (reason := _why_not(site, grid))}
    names = [name for name in sites if name not in why]
    wanted, fitted = _read(lifted, names), FittedWeights()
    for stage in _stages(names):
        tell(f"rounding, layer {names.index(stage[0]) + 1} of {len(names)}")
        emitted = fresh(fitted)
        emitted.emit(statistics)
        as_meant = _Inside(lifted.model.clone(), {name: wanted[name] for name in stage}, scratch / "meant.onnx")
        with as_meant as meant, _Inside(emitted.model, _read(emitted, stage), scratch / "found.onnx") as found:
            moments = _moments({name: sites[name] for name in stage}, meant, found, feeds)
        fitted |= {name: _fit(sites[name], each, grid) for name, each in moments.items()}
    return fitted, why


def _stages(names: Sequence[str]) -> Iterator[Sequence[str]]:
    size = max(1, math.ceil(len(names) / STAGES))
    for start in range(0, len(names), size):
        yield names[start : start + size]


def _why_not(site: WeightSite, grid: Grid) -> str:
    """Why a layer's weight stays as the nearest integers; empty where it need not."""
    node, weight = site.node, constant(site.node.inputs[site.weight])
    assert weight is not None
    if node.op_type == "Conv":
        padding = node.attributes.get("auto_pad")
        if weight.ndim not in (3, 4) or (padding is not None and padding.as_string() not in ("", "NOTSET")):
            return "a convolution over three axes, or one that pads by its input's size"
        if grid.block is not None:
            return "its scales lie in blocks of a convolution's channels"
        columns = int(np.prod(weight.shape[1:]))
    elif node.op_type in ("Gemm", "MatMul"):
        if weight.ndim != 2 or site.weight != 1:
            return "its weight is no matrix behind the values that it multiplies"
        columns = weight.shape[site.inner]
    else:
        return f"{node.op_type} is not rounded so"
    return f"{columns} inputs of each output" if columns > MOST_COLUMNS else ""


def _moments(
    sites: Mapping[str, WeightSite], meant: _Inside, found: _Inside, feeds: Sequence[Feed]
) -> dict[str, ReadMoments]:
    """Of each layer, of its groups along the first axis."""
    moments: dict[str, ReadMoments] = {}
    for feed in feeds:
        exact, seen = (inside(feed, list(sites)) for inside in (meant, found))
        for name, site in sites.items():
            one, two = (rows_read(site, inside[name]) for inside in (exact, seen))
            if name not in moments:
                through = _through(site, len(two))
                moments[name] = ReadMoments(two.shape[2], len(two), about_mean=_has_bias(site), through=through)
            moments[name].add(one, two)
    return moments


def _through(site: WeightSite, groups: int) -> torch.Tensor | None:
    """The matrices of a layer, its columns as they are read, where it gives so few values that these cost less."""
    weight = constant(site.node.inputs[site.weight])
    assert weight is not None
    matrices = torch.from_numpy(_matrices(site, weight, groups))
    if 2 * matrices.shape[1] >= matrices.shape[2]:
        return None
    return matrices[..., columns_of_weight(site).argsort()]


def _read(quantizer: Quantizer, layers: Collection[str]) -> dict[str, str]:
    """The value that each layer reads, by the layer's name."""
    read = {str(site.node.name): site.node.inputs[site.data] for site in quantizer.placement.weights}
    return {name: str(value.name) for name, value in read.items() if value is not None and name in layers}


class _Inside:
    """An open graph that is asked for what some of its layers read: as much of it as that takes."""

    def __init__(self, model: ir.Model, read: Mapping[str, str], path: Path) -> None:
        self._read, self._path = read, path
        _cut(model, set(read.values()))
        write_model(model, path, BESIDE)

    def __enter__(self) -> _Inside:
        self._values = Reference().values(self._path, kernels="float")
        return self

    def __call__(self, feed: Feed, layers: Sequence[str]) -> dict[str, Array]:
        """What these layers read, by layer."""
        names = dict.fromkeys(self._read[layer] for layer in layers)
        values = {**feed, **self._values(feed, [name for name in names if name not in feed])}
        return {layer: values[self._read[layer]] for layer in layers}

    def __exit__(self, *details: object) -> None:
        self._values.close()
        for file in self._path.parent.glob(f"{self._path.name}*"):
            file.unlink()


def _cut(model: ir.Model, names: Collection[str]) -> None:
    """Leave what these values are computed by; all of a graph where they are inputs of it."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    expose(model.graph, names)
    if wanted := [value for value in model.graph.outputs if value.name in names]:
        model.graph.outputs[:] = wanted
        RemoveUnusedNodesPass()(model)


def _fit(site: WeightSite, moments: ReadMoments, grid: Grid) -> FittedWeight:
    """The integers of one layer, and what its bias becomes."""
    weight = constant(site.node.inputs[site.weight])
    assert weight is not None
    scales = weight_scales(weight, site.scale_axis(grid), grid)
    before, has_bias = bias_of(site.node), _has_bias(site)
    matrices = _matrices(site, weight, len(moments.hessian))
    by_row = _by_row(site, weight, scales, grid, len(matrices))
    hessian, lacking = _ordered(site, moments, matrices)
    at_once = max(1, _AT_ONCE // hessian[0].numel())
    parts = [slice(start, start + at_once) for start in range(0, len(matrices), at_once)]
    name = str(site.node.name)
    made = np.concatenate([_made(matrices[p], hessian[p], lacking[p], by_row[p], grid, name) for p in parts])
    bias = None
    if before is not None and has_bias:
        bias = (before + _mean_shift(site, matrices, made, moments).reshape(-1)).astype(np.float32)
    return FittedWeight(of=weight_digest(weight), values=_weight(site, made, weight.shape), scales=scales, bias=bias)


def _has_bias(site: WeightSite) -> bool:
    """Whether a bias makes up for the means of what the layer reads."""
    bias = bias_of(site.node)
    return bias is not None and bias.ndim == 1


def _ordered(site: WeightSite, moments: ReadMoments, matrices: _Floats) -> tuple[torch.Tensor, torch.Tensor]:
    """H, and what the outputs lack by what is read, with the columns of the weight.

    Returns:
        Of shape (groups, columns, columns), and (groups, outputs, columns): W (y - y')^T y'.
    """
    order = columns_of_weight(site)
    hessian, between = moments.centred() if _has_bias(site) else (moments.hessian, moments.between)
    between = between[..., order]
    lacking = torch.from_numpy(matrices) @ between[:, order] if moments.through is None else between
    return hessian[:, order][..., order], lacking


def _made(
    matrices: _Floats,
    hessian: torch.Tensor,
    lacking: torch.Tensor,
    by_row: Sequence[_Floats],
    grid: Grid,
    name: str,
) -> _Floats:
    """What the integers of some groups stand for, of the shape of the matrices."""
    wanted = torch.from_numpy(matrices)
    damped = damp(hessian)
    factor = inverse_factor(damped)
    wanted = wanted + moved_by(lacking, hessian, factor)
    each = zip(wanted.numpy(), damped, factor, by_row, strict=True)
    return np.stack([_rounded(*group, grid, name) for group in each])


def _rounded(
    wanted: _Floats, damped: torch.Tensor, factor: torch.Tensor, steps: _Floats, grid: Grid, name: str
) -> _Floats:
    """What the integers of one group stand for."""
    integers = compensate_by(wanted, damped, factor, grid, scales=steps, name=name)
    codes = integers.codes.astype(np.float32) - np.float32(middle(grid))
    return codes * _wide(steps, wanted.shape[1], grid)


def _mean_shift(site: WeightSite, matrices: _Floats, values: _Floats, moments: ReadMoments) -> npt.NDArray[np.float64]:
    """What the outputs lack in the mean, of shape (groups, outputs)."""
    order = columns_of_weight(site)
    meant, found = (mean[..., order].numpy() for mean in moments.means())
    lacks: npt.NDArray[np.float64] = matrices.astype(np.float64) @ meant[..., None] - values @ found[..., None]
    return lacks[..., 0]


def _matrices(site: WeightSite, weight: _Floats, groups: int) -> _Floats:
    """The weight as (groups, outputs, columns)."""
    if site.node.op_type == "Conv":
        return np.array(weight.reshape(groups, len(weight) // groups, -1))
    return np.array((weight if site.inner == 1 else weight.T)[None], order="C")


def _weight(site: WeightSite, matrices: _Floats, shape: tuple[int, ...]) -> _Floats:
    """The other way round."""
    if site.node.op_type == "Conv":
        return matrices.reshape(shape)
    return np.ascontiguousarray(matrices[0] if site.inner == 1 else matrices[0].T)


def _by_row(site: WeightSite, weight: _Floats, scales: _Floats, grid: Grid, groups: int) -> list[_Floats]:
    """The scales of each group as (outputs, blocks)."""
    outputs = len(weight) if site.node.op_type == "Conv" else weight.shape[1 - site.inner]
    if grid.block is not None and site.scale_axis(grid) is not None:
        return [np.ascontiguousarray(scales if site.inner == 1 else scales.T)]
    rows = np.ascontiguousarray(np.broadcast_to(scales.reshape(-1, 1), (outputs, 1)))
    return list(rows.reshape(groups, outputs // groups, 1))


def _wide(steps: _Floats, columns: int, grid: Grid) -> _Floats:
    """A scale for each column."""
    return steps if grid.block is None else steps.repeat(grid.block, 1)[:, :columns]
