"""What is exported and for what: what every step of a decoder's export is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ...backends.places import Place
from ...errors import InputError
from ...profiles.budget.limits import Drop
from ...profiles.device.precision import PrecisionName, precisions
from ...profiles.device.target import Target
from ..language.writers.base import DecoderForm
from ..progress import Advance
from ..recipe import Recipe
from ..sources import DecoderSource
from ..workshop import Memo
from .judging import Judge
from .texts import Texts

# What a decoder's perplexity may rise where nobody says more than "auto".
AUTO = "auto"
USUAL_RISE = Drop(amount=0.05, relative=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTask:
    """The export of a decoder to a target.

    Attributes:
        place: where the target's engines run.
        on: its address, where one was given.
        scratch: a directory for what is not shipped.
        destination: the directory that becomes the bundle.
        threads: of the runtime.
        step: shows a step of the work.
    """

    source: DecoderSource
    target: Target
    recipe: Recipe
    form: DecoderForm
    place: Place
    on: str | None
    memo: Memo
    scratch: Path
    destination: Path
    threads: int
    step: Callable[[str], AbstractContextManager[Advance]]

    @property
    def limit(self) -> Drop | None:
        """Most by which the perplexity may rise; None where only the precision was asked for, or only a size."""
        asked = self.recipe.budget.rise
        return USUAL_RISE if asked is None and self.recipe.precision == AUTO and not self._sized else asked

    @property
    def chooses(self) -> bool:
        """Grids are chosen layer by layer: to hold a limit, or to lose least within a size."""
        return self.limit is not None or (self.recipe.precision == AUTO and self._sized)

    @property
    def _sized(self) -> bool:
        return self.recipe.budget.size is not None

    @property
    def by_data(self) -> bool:
        """Weights are rounded by what layers take when they read text."""
        return self.recipe.weights.rounding == "data"

    @property
    def brief(self) -> bool:
        """Nothing hangs on what text loses: one grid was asked for, from the weights alone, and no limit."""
        return not (self.by_data or self.chooses)

    @property
    def precisions(self) -> tuple[PrecisionName, ...]:
        """What may be tried, the fewest bits first.

        Raises:
            InputError: a precision that decoders are not made in.
        """
        known = [each.name for each in reversed(precisions()) if each.exact or each.decoder is not None]
        first = known[0] if self.recipe.precision == AUTO else self.recipe.precision
        if first not in known:
            raise InputError(
                f"A decoder has its weights in {', '.join(known)}, not in {first}.",
                hint="Choose one with --precision.",
            )
        from_there = tuple(known[known.index(first) :])
        return from_there if self.chooses else from_there[:1]

    @property
    def texts(self) -> Texts:
        """What it is calibrated on and judged by, the same for all targets."""
        return self.memo.once("texts", self.source.digest, lambda: Texts.of(self.source, self.recipe))

    @property
    def judges(self) -> tuple[Judge, Judge]:
        """FP32's answers to the text that it is judged by and to the golden one, asked for once in a run."""

        def asked() -> tuple[Judge, Judge]:
            with self.step("reference") as advance:
                return self.texts.judges(self.source, self.memo.directory, advance, brief=self.brief)

        return self.memo.once("judges", (self.source.digest, self.brief), asked)
