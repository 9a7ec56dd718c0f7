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
from .read_alike import Readings
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
        thorough: what text loses is judged on all windows even where nothing hangs on it.
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
    thorough: bool = False

    @property
    def drop(self) -> Drop | None:
        """Most that the user's own metric may lose; None where there is none, or nothing was asked of it."""
        return None if self.source.evaluate is None else self.recipe.budget.drop

    @property
    def rise(self) -> Drop | None:
        """Most by which the perplexity of what is shipped may rise; None where nothing says so.

        Where a metric of the user's own is to decide, perplexity does only if it was asked for by its name.
        """
        return self._asked if self.drop is not None else self.limit

    @property
    def limit(self) -> Drop | None:
        """The rise of the perplexity that grids are planned for; None where only the precision or a size was asked for.

        What a metric will lose cannot be reckoned: there the usual rise is planned for, and the metric judges.
        """
        open_ = self.recipe.precision == AUTO and not self._sized
        return USUAL_RISE if self._asked is None and (open_ or self.drop is not None) else self._asked

    @property
    def _asked(self) -> Drop | None:
        budget = self.recipe.budget
        return budget.rise if self.drop is None else budget.perplexity_rise

    @property
    def chooses(self) -> bool:
        """Grids are chosen layer by layer: to hold a limit, or to lose least within a size."""
        if self.recipe.weights.uniform and self.recipe.precision != AUTO:
            return False
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
        bound = self.rise is not None or self.drop is not None
        return not (self.by_data or self.chooses or self.thorough or bound)

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
        key = (self.source.digest, self.brief)
        return self.memo.once("texts", key, lambda: Texts.of(self.source, self.recipe, brief=self.brief))

    @property
    def readings(self) -> Readings | None:
        """What the runtime's tokenizer is held to, read once in a run; None where there is no tokenizer."""
        tokenizer = self.source.tokenizer
        if tokenizer is None:
            return None
        return self.memo.once("readings", self.source.digest, lambda: Readings.of(tokenizer))

    @property
    def judges(self) -> tuple[Judge, Judge]:
        """FP32's answers to the text that it is judged by and to the golden one, asked for once in a run."""

        def asked() -> tuple[Judge, Judge]:
            with self.step("reference") as advance:
                return self.texts.judges(self.source, self.memo.directory, advance, brief=self.brief)

        return self.memo.once("judges", (self.source.digest, self.brief), asked)
