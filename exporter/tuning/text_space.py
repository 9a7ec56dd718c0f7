"""What a search for a decoder may choose: precision, blocks, zero points, and how weights are rounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...errors import InputError
from ...profiles.device.grid import Grid
from ...profiles.device.precision import load_precision, precisions
from ...profiles.device.target import Target
from ...profiles.findings.point import Value
from ..decoding.grids import USUAL_BLOCKS, grid_of
from ..language.forms import load_form
from ..recipe import Recipe
from .space import Dimension, Space

SYMMETRIC = {"symmetric": True, "asymmetric": False}


def text_space(target: Target, base: Recipe) -> Space:
    """What the recipe leaves open, of what the runtime has kernels for.

    Raises:
        InputError: nothing is left of what was asked for.
    """
    asked = base.weights
    blocks = USUAL_BLOCKS if asked.block is None else (asked.block,)
    zeros = tuple(name for name, symmetric in SYMMETRIC.items() if asked.symmetric in (None, symmetric))
    able = {name: _grids(name, target, blocks, zeros) for name in _precisions(base)}
    names = tuple(name for name, grids in able.items() if grids or not load_precision(name).integer)
    if not names:
        raise InputError(
            f"Nothing to search: {target.name} has no weights of {base.precision} in such blocks.",
            hint="Leave --precision, --block or --symmetric open.",
        )
    dimensions = [_dimension("precision", names, lambda recipe, value: replace(recipe, precision=str(value)))]
    found = [each for grids in able.values() for each in grids]
    if found:
        dimensions += [
            _weights("block", [block for block in blocks if any(block == one for one, _ in found)], _block),
            _weights("zero", [zero for zero in zeros if any(zero == one for _, one in found)], _zero),
            _weights("rounding", ["data", "nearest"] if asked.rounding == "data" else ["nearest"], _rounding),
        ]
    return Space(dimensions=tuple(dimensions))


def _precisions(base: Recipe) -> list[str]:
    """The fewest bits first."""
    known = [each.name for each in reversed(precisions()) if each.exact or each.decoder is not None]
    return [name for name in known if base.precision in ("auto", name)]


def _grids(name: str, target: Target, blocks: Sequence[int], zeros: Sequence[str]) -> list[tuple[int, str]]:
    """Blocks and zeros that the runtime has of a precision."""
    usual, form = load_precision(name).decoder, load_form(target)
    if usual is None:
        return []

    def has(grid: Grid) -> bool:
        return not form.why_no_grid(form.storable(grid), target)

    return [
        (block, zero) for block in blocks for zero in zeros if has(grid_of(usual, block, symmetric=SYMMETRIC[zero]))
    ]


def _dimension(name: str, values: Sequence[Value], apply: Any, *, integer: bool = False) -> Dimension:
    return Dimension(name=name, values=tuple(values), integer=integer, apply=apply)


def _weights(name: str, values: Sequence[Value], of: Any) -> Dimension:
    """A setting of `[weights]`: every matrix then has the grid of the point."""

    def apply(recipe: Recipe, value: Value) -> Recipe:
        return replace(recipe, weights=replace(recipe.weights, uniform=True, **of(value)))

    return _dimension(name, values, apply, integer=True)


def _block(value: Value) -> dict[str, Any]:
    return {"block": int(value)}


def _zero(value: Value) -> dict[str, Any]:
    return {"symmetric": SYMMETRIC[str(value)]}


def _rounding(value: Value) -> dict[str, Any]:
    return {"rounding": str(value)}
