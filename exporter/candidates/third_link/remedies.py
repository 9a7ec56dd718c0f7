"""What is tried where an engine strays from its graph, in order: no lifts, then the layers where they part in float."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ....errors import RefusedError, VerificationError
from ....profiles.device.precision import load_precision
from ...quantization.mixed_int8 import NothingToQuantizeError
from ...quantization.noise import literal
from ...recipe import Recipe
from ..candidate import Candidate, Refused
from .link import StrayingError
from .parting import Parting

# What a precision may fail with where another one may still get through.
FAILURES = (VerificationError, NothingToQuantizeError, RefusedError)
IN_FLOAT32 = "What is float is computed in float32, though the runtime would take a shorter one here, in which:"
IN_FLOAT = "left in float: the engine strays from its graph there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """The ways out for one candidate.

    Attributes:
        made: makes the precision by another recipe; raises as that fails.
        parting: where an engine that strayed so parts from its graph, None where that is not found.
    """

    recipe: Recipe
    made: Callable[[Recipe], Candidate]
    parting: Callable[[StrayingError], Parting | None]

    def of(self, strayed: StrayingError) -> Candidate | Refused:
        """The first remedy that holds; refused with the place of the fault where none does."""
        precision = strayed.candidate.precision
        if load_precision(precision).integer and self.recipe.lifts is None:
            # What lifts write into a graph is what compilers see least, and so confuse.
            candidate = self._tried(replace(self.recipe, lifts=()))
            if candidate is not None:
                return noted(candidate, f"No lifts. With them: {strayed.message}")
        where = None if strayed.too_coarse else self.parting(strayed)
        for layers in () if where is None else where.regions:
            candidate = self._tried(replace(self.recipe, exclude=(*self.recipe.exclude, *literal(layers))))
            if candidate is not None:
                left = {**candidate.left, **dict.fromkeys(layers, IN_FLOAT)}
                note = f"{', '.join(layers)} {IN_FLOAT}. {where}. In {precision}: {strayed.message}"
                return noted(replace(candidate, left=left), note)
        told = strayed.message if where is None else f"{strayed.message} {where}."
        error = StrayingError(strayed.candidate, told, hint=strayed.hint, feed=strayed.feed)
        return Refused(precision=precision, error=error)

    def _tried(self, recipe: Recipe) -> Candidate | None:
        try:
            return self.made(recipe)
        except FAILURES:
            return None


def noted(candidate: Candidate, note: str) -> Candidate:
    """The candidate with one more sentence for the report."""
    return replace(candidate, notes=(*candidate.notes, note))
