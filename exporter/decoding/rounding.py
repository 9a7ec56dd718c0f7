"""Which roundings of a decoder's weights are tried, the smallest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import InputError
from ...profiles.device.grid import Grid
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.findings.language import Bits, LayerBits
from ..language.quantize import RoundedWeights, uniform
from ..language.weights import Floats, Integers, Matrix, Weights
from .candidate import Rounded

if TYPE_CHECKING:
    from .make import TextMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Weights as they are to be written."""

    title: str
    precision: PrecisionName
    weights: Weights
    rounded: Rounded


def roundings(maker: TextMaker) -> Iterator[Rounding]:
    """What is tried, the fewest bits first."""
    from .make import precision_of

    decoder, checkpoint = maker.source.decoder, maker.source.checkpoint
    precision = precision_of(maker.recipe)
    for name in ("int4", "int8", "fp32"):
        if name < precision and precision != "fp32":
            continue
        if name == "fp32":
            plain = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids={})
            if precision == "fp32" or maker.limit is not None:
                yield Rounding(title="fp32", precision="fp32", weights=plain, rounded=_rounded(maker, None))
            return
        if name >= precision:
            grid = grid_of(name, maker)
            weights = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=uniform(decoder, grid))
            yield Rounding(title=str(grid), precision=name, weights=weights, rounded=_rounded(maker, grid))
            if maker.limit is None:
                return


def grid_of(precision: PrecisionName, maker: TextMaker) -> Grid:
    """The grid of a precision, as far as it was asked for.

    Raises:
        InputError: the runtime has no kernel for it.
    """
    asked, usual = maker.recipe.weights, load_precision("int4").weights
    assert usual is not None
    symmetric = asked.symmetric is not False
    grid = replace(
        usual,
        bits=4 if precision == "int4" else 8,
        block=asked.block or usual.block,
        signed=symmetric,
        symmetric=symmetric,
        whole=symmetric,
    )
    if why := maker.form.why_no_grid(grid, maker.target):
        raise InputError(f"Target {maker.target.name} has no weights in {grid}: {why}.", hint="Choose another --block.")
    return grid


def _rounded(maker: TextMaker, grid: Grid | None) -> Rounded:
    decoder = maker.source.decoder
    layers = [_bits(maker, each.name, each.outputs, each.inputs, grid) for each in decoder.linears()]
    if not decoder.tied:
        layers.insert(0, _bits(maker, "embedding", decoder.vocabulary, decoder.width, grid))
    return Rounded(digest="", bits=Bits(layers=tuple(layers), how="One grid was asked for."))


def _bits(maker: TextMaker, name: str, rows: int, columns: int, grid: Grid | None) -> LayerBits:
    return LayerBits(
        layer=name,
        grid="float32" if grid is None else str(grid),
        weights=rows * columns,
        bytes=maker.form.matrix_bytes(rows, columns, grid),
    )


def floats(matrix: Matrix) -> Floats:
    """What a matrix stands for."""
    return matrix.floats() if isinstance(matrix, Integers) else matrix
