"""What a search may choose: the settings that the recipe leaves open, each with its values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...calibration.ranges import METHODS
from ...errors import InputError
from ...profiles.device.precision import load_precision
from ...profiles.device.target import Target
from ...profiles.findings.point import SearchPoint, Value
from ..quantization.noise import literal
from ..quantization.quantizer import AUTO
from ..recipe import Recipe
from ..sources import Source

# Percent of the MACs to remove. Beyond 80 % hardly anything recovers in a short training.
PRUNED = tuple(range(0, 81, 10))
# Layers left in float, from the head of the sensitivity ranking.
KEPT = (0, 1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One open setting.

    Attributes:
        values: in their order; the first is what an export does by itself.
        integer: it means something only where the precision is one of integers.
        apply: puts a value into a recipe.
    """

    name: str
    values: tuple[Value, ...]
    integer: bool = False
    apply: Callable[[Recipe, Value], Recipe]

    def distance(self, one: SearchPoint, other: SearchPoint) -> float:
        """0 where two points have the same value, 1 where one has none; values with an order lie on a scale between."""
        a, b = one.get(self.name), other.get(self.name)
        if a == b:
            return 0.0
        if a is None or b is None or isinstance(a, str):
            return 1.0
        return abs(self.values.index(a) - self.values.index(b)) / (len(self.values) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The open settings of a search, the precision first."""

    dimensions: tuple[Dimension, ...]

    def points(self) -> Iterator[dict[str, Value]]:
        """Every choice; what means nothing for its precision is not in it."""
        every = itertools.product(*(dimension.values for dimension in self.dimensions))
        names = [dimension.name for dimension in self.dimensions]
        seen: dict[tuple[tuple[str, Value], ...], None] = {}
        for values in every:
            seen.setdefault(tuple(self._meant(dict(zip(names, values, strict=True))).items()))
        return (dict(point) for point in seen)

    def suggest(self, choose: Callable[[Dimension], Value]) -> dict[str, Value]:
        """A point, value by value, asking only for what means something."""
        point: dict[str, Value] = {}
        for dimension in self.dimensions:
            if not dimension.integer or _is_integer(point["precision"]):
                point[dimension.name] = choose(dimension)
        return point

    def anchors(self) -> list[dict[str, Value]]:
        """Each precision with everything else as an export does it: what the others are judged by."""
        first = {dimension.name: dimension.values[0] for dimension in self.dimensions}
        return [self._meant({**first, "precision": value}) for value in self.dimensions[0].values]

    def recipe(self, base: Recipe, point: SearchPoint) -> Recipe:
        """The base with the point's settings."""
        for dimension in self.dimensions:
            if dimension.name in point:
                base = dimension.apply(base, point[dimension.name])
        return base

    def distance(self, one: SearchPoint, other: SearchPoint) -> float:
        """How far two points are from each other: each setting from 0, equal, to 1, its ends or not in both."""
        return sum(dimension.distance(one, other) for dimension in self.dimensions)

    def _meant(self, point: dict[str, Value]) -> dict[str, Value]:
        integer = _is_integer(point["precision"])
        return {d.name: point[d.name] for d in self.dimensions if integer or not d.integer}


def _is_integer(precision: Value) -> bool:
    return load_precision(str(precision)).integer


def space_of(
    source: Source, target: Target, base: Recipe, *, ranking: Sequence[str], cores: int, has_data: bool, timed: bool
) -> Space:
    """What is open: settings that the base recipe fixes are not searched.

    Args:
        ranking: layers by what int8 does to them, worst first; empty where there is no int8.
        cores: that this process may use.
        timed: latency is measured; without it, threads change nothing.

    Raises:
        InputError: the base asks for a precision that the target does not have or that needs data.
    """
    dimensions = [_precision(target, base, has_data=has_data), *([_threads(base, cores)] if timed else [])]
    dimensions += _pruned(source, base)
    if any(map(_is_integer, dimensions[0].values)):
        dimensions += [*_ranges(base), *_kept(ranking)]
    return Space(dimensions=tuple(dimensions))


def _precision(target: Target, base: Recipe, *, has_data: bool) -> Dimension:
    """Best first, as an export would choose."""
    asked = [name for name in target.precisions if base.precision in ("auto", name)]
    able = tuple(name for name in asked if has_data or not load_precision(name).needs_data)
    if not able:
        raise InputError(
            f"Nothing to search: the recipe asks for {base.precision}, which {target.name} does not have or which "
            "needs calibration data.",
            hint=f"{target.name} runs {', '.join(target.precisions)}.",
        )
    return Dimension(name="precision", values=able, apply=lambda recipe, value: replace(recipe, precision=str(value)))


def _threads(base: Recipe, cores: int) -> Dimension:
    """Powers of two up to all cores; small models are often faster on fewer."""
    powers = {2**n for n in range(cores.bit_length()) if 2**n < cores}
    values = (base.threads,) if base.threads else (cores, *sorted(powers, reverse=True))
    return Dimension(name="threads", values=values, apply=lambda recipe, value: replace(recipe, threads=int(value)))


def _pruned(source: Source, base: Recipe) -> list[Dimension]:
    """Only where quality can be judged and won back: a torch module with `evaluate()` and data to train on."""
    trainable = source.training is not None or source.calibration is not None or base.calibration is not None
    closed = base.prune is not None or base.distill or source.module is None or source.program is not None
    if closed or source.evaluate is None or not trainable:
        return []

    def apply(recipe: Recipe, value: Value) -> Recipe:
        return replace(recipe, prune=int(value) / 100 or None)

    return [Dimension(name="prune", values=PRUNED, apply=apply)]


def _ranges(base: Recipe) -> list[Dimension]:
    if base.ranges != AUTO:
        return []
    values = (AUTO, *METHODS.names())
    return [
        Dimension(name="ranges", values=values, integer=True, apply=lambda recipe, v: replace(recipe, ranges=str(v)))
    ]


def _kept(ranking: Sequence[str]) -> list[Dimension]:
    """The head of the ranking, less than half of it: beyond that a float model is simpler."""
    values = tuple(count for count in KEPT if 2 * count < len(ranking) or count == 0)

    def apply(recipe: Recipe, value: Value) -> Recipe:
        return replace(recipe, exclude=(*recipe.exclude, *literal(ranking[: int(value)])))

    return [Dimension(name="kept", values=values, integer=True, apply=apply)] if len(values) > 1 else []
