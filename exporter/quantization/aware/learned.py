"""Train the graph of integers itself, from our placement and ranges, and read off what its weights have become.

The graph learns as it is shipped: with its batch norms folded, its lifts applied, its activations rounded on the
ranges that calibration found, its weights on scales that learn too. So the result is written by the same emitter, into
the same graph, and only numbers differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....calibration.affine import along
from ....calibration.statistics import Statistics
from ....errors import InputError
from ....profiles.device.grid import Grid
from ....profiles.findings.training import TrainingRun
from ....profiles.reading.opened import LINE
from ...progress import Advance
from ...recipe import Recipe
from ...sources import Source
from ...sources.torch_module import call, output_tensors
from ...training.loop import train
from ..analysis.weight_site import WeightSite
from ..emitter import BIAS_INPUT
from ..fitted import FittedWeight, weight_digest
from ..lifts.correct_bias import bias_of
from ..quantizer import Quantizer
from .form import ResultForm
from .network import GraphModule, OperatorError, Whole, why_not_torch

if TYPE_CHECKING:
    from torch import nn

_WITHOUT = "Leave out --qat: weights are rounded by data then, and layers that hurt stay in float."


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What came of it.

    Attributes:
        module: the trained graph in torch, which rounds as the graph of integers does.
    """

    fitted: Mapping[str, FittedWeight]
    run: TrainingRun
    module: nn.Module


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """Where what a layer learns lies, names of constants; `read` is the scale of what it reads."""

    weight: str
    scale: str
    bias: str
    read: str


def learned(
    quantizer: Quantizer,
    statistics: Statistics,
    source: Source,
    recipe: Recipe,
    advance: Advance,
    checkpoint: Path | None,
    check: Callable[[nn.Module], object] = lambda module: None,
) -> Learned:
    """Train.

    Args:
        quantizer: of the float graph, fresh, with the lifts that are applied.
        statistics: what lifts and ranges come of.
        source: gives the module, which teaches, the data and the loss.
        check: shown the graph in torch before it is trained.

    Raises:
        InputError: the graph has something that torch does not compute here, faults of the user's functions, or a loss
            that was no number before anything was learned.
    """
    quantizer.emit(statistics, weight_storage="float", bias="float")
    grid, source = quantizer.scheme.weight, _in_one_piece(source)
    sites = {str(site.node.name): site for site in quantizer.placement.weights}
    parts = {name: _parts_of(site) for name, site in sites.items()}
    module = _network(quantizer, source, list(parts.values()))
    check(module)
    given = {name: weight_digest(_array(module, part.weight)) for name, part in parts.items()}
    outcome = train(
        module,
        source.module,
        source,
        recipe.training,
        purpose="quantization-aware training",
        seed=recipe.seed,
        keep=_zeros_kept(module, list(parts.values())) if recipe.sparse else lambda trained: None,
        advance=advance,
        checkpoint=checkpoint,
    )
    if outcome.run.broken and not outcome.run.history:
        raise InputError(
            f"Nothing was learned. {outcome.run.stopped}",
            hint="Lower --learning-rate, and look at loss() and at the data for NaN or Inf.",
        )
    trained = outcome.module
    assert isinstance(trained, GraphModule)
    fitted = {
        name: _fitted(trained, part, sites[name].scale_axis(grid), grid, given[name]) for name, part in parts.items()
    }
    return Learned(fitted=fitted, run=outcome.run, module=trained)


def _network(quantizer: Quantizer, source: Source, parts: list[_Parts]) -> GraphModule:
    """The graph as a module whose result has the form of the source's module.

    Raises:
        InputError: torch does not compute some of it here.
    """
    graph, grid = quantizer.model.graph, quantizer.scheme.weight
    if why := why_not_torch(graph):
        raise InputError(f"{why}, so that the graph cannot be trained.", hint=_WITHOUT)
    learns = [name for part in parts for name in (part.weight, part.bias) if name]
    limits = (grid.smallest, grid.largest)
    integers = quantizer.scheme.bias == "int32"
    biases = {part.bias: (part.scale, part.read) for part in parts if integers and part.bias}
    module = GraphModule(graph, list(source.inputs), learns, [part.scale for part in parts], limits, biases)
    try:
        tensors = call(module, source.inputs)
    except OperatorError as error:
        said = " ".join(str(error).split())[:LINE]
        raise InputError(
            f"torch does not compute the graph here, so that it cannot be trained: {said}.", hint=_WITHOUT
        ) from error
    module.form = _form(source, tensors)
    return module


def _form(source: Source, tensors: Any) -> ResultForm:
    """How the source's module gives its results.

    Args:
        tensors: by name, as the graph gives them.

    Raises:
        InputError: they are in an object of a class that does not take them.
    """
    assert source.module is not None
    result = call(source.module, source.inputs)
    form = ResultForm(result, list(output_tensors(source.module, source.inputs)))
    try:
        form(tensors)
    except TypeError as error:
        raise InputError(
            f"The graph is not trained: {type(result).__name__}, which forward returns, is not made of tensors alone.",
            hint="Return a tensor, or a tuple or dict of tensors.",
        ) from error
    return form


def _parts_of(site: WeightSite) -> _Parts:
    """Of a layer behind whose weight Q/DQ stand."""
    dequantized = site.node.inputs[site.weight]
    back = None if dequantized is None else dequantized.producer()
    quantized = None if back is None or back.inputs[0] is None else back.inputs[0].producer()
    data = site.node.inputs[site.data]
    reading = None if data is None else data.producer()
    assert reading is not None and reading.inputs[1] is not None
    assert quantized is not None and quantized.inputs[0] is not None and quantized.inputs[1] is not None
    bias = site.node.inputs[BIAS_INPUT] if len(site.node.inputs) > BIAS_INPUT else None
    learns = bias is not None and (array := bias_of(site.node)) is not None and array.ndim == 1
    return _Parts(
        weight=str(quantized.inputs[0].name),
        scale=str(quantized.inputs[1].name),
        bias=str(bias.name) if bias is not None and learns else "",
        read=str(reading.inputs[1].name),
    )


def _zeros_kept(module: GraphModule, parts: list[_Parts]) -> Callable[[nn.Module], None]:
    """Puts back the zeros of 2:4 weights after a step."""
    masks = {part.weight: module.value(part.weight) != 0 for part in parts}

    def keep(trained: nn.Module) -> None:
        assert isinstance(trained, GraphModule)
        for name, mask in masks.items():
            value = trained.value(name)
            value.mul_(mask.to(value.device))

    return keep


def _fitted(module: GraphModule, part: _Parts, axis: int | None, grid: Grid, of: str) -> FittedWeight:
    """The weight as it is rounded in the end; `of`: what it was before it learned."""
    weight, scales = (_array(module, name) for name in (part.weight, part.scale))
    wide = along(scales, weight.shape, axis, grid)
    codes = np.rint(weight / wide).clip(grid.smallest, grid.largest).astype(np.float32)
    bias = _array(module, part.bias) if part.bias else None
    return FittedWeight(of=of, values=codes * wide, scales=scales, bias=bias)


def _array(module: GraphModule, name: str) -> npt.NDArray[np.float32]:
    return np.asarray(module.value(name).detach().cpu().numpy(), dtype=np.float32)


def _in_one_piece(source: Source) -> Source:
    """The source whose module takes what the graph takes, preprocessing included, so that training does so too."""
    from ...sources.pipeline import Pipeline

    return replace(source, module=Whole(source.module)) if isinstance(source.module, Pipeline) else source


def as_source(source: Source, module: nn.Module) -> Source:
    """The source with the trained graph as its module, to be asked as the module is."""
    return replace(source, module=module)
