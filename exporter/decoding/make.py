"""Make one precision of a decoder: weights, engine, and the proof of both on text."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from ...backends.base import Engine
from ...backends.places import Place
from ...backends.registry import load_backend
from ...errors import InputError, VerificationError
from ...profiles.budget.limits import Drop
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.language import Language
from ..candidates.judge import directory_bytes
from ..language.agreement import Comparison
from ..language.writers.base import Form
from ..progress import Advance
from ..recipe import Recipe
from ..sources.decoder import DecoderSource
from ..workshop import Memo
from .candidate import Rounded, TextCandidate
from .digest import Digesting
from .judging import Judge
from .proof import engine_strays, golden_text, same_as_library
from .rounding import Rounding, roundings
from .texts import Texts

# What a decoder's perplexity may rise where nobody says more than "auto".
USUAL_RISE = Drop(amount=0.05, relative=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMaker:
    """Makes candidates of a decoder for a target.

    Attributes:
        place: where the target's engines run.
        scratch: a directory for what is not shipped.
        step: shows a step of the work.
    """

    source: DecoderSource
    target: Target
    recipe: Recipe
    form: Form
    place: Place
    memo: Memo
    scratch: Path
    threads: int
    step: Callable[[str], AbstractContextManager[Advance]]

    def made(self) -> TextCandidate:
        """The smallest that holds what is asked.

        Raises:
            InputError: the runtime does not have such a decoder, or such weights.
            VerificationError: none holds it.
        """
        if why := self.form.why_not(self.source.decoder, self.target):
            raise InputError(f"Target {self.target.name} cannot run {self.source.name}: {why}.")
        tried: list[str] = []
        for rounding in roundings(self):
            candidate = self._through(rounding)
            if why := self._lost_too_much(candidate):
                tried.append(f"{rounding.title}: {why}")
                continue
            notes = tuple(f"Not shipped: {one}." for one in tried)
            return replace(candidate, notes=(*candidate.notes, *notes))
        raise VerificationError(
            f"{self.source.name} loses more than it may: {'; '.join(tried)}.",
            hint="Allow more with --max-drop, or leave the choice to --precision auto.",
        )

    @property
    def limit(self) -> Drop | None:
        """Most by which the perplexity may rise; None where only the precision was asked for."""
        asked = self.recipe.budget.rise
        return USUAL_RISE if asked is None and self.recipe.precision == "auto" else asked

    @property
    def texts(self) -> Texts:
        """What it is calibrated on and judged by, the same for all targets."""
        return self.memo.once("texts", self.source.digest, lambda: Texts.of(self.source, self.recipe))

    @property
    def judges(self) -> tuple[Judge, Judge]:
        """FP32's answers to the text that it is judged by and to the golden one, asked for once in a run."""

        def asked() -> tuple[Judge, Judge]:
            with self.step("reference") as advance:
                return self.texts.judges(self.source, self.memo.directory, advance)

        return self.memo.once("judges", self.source.digest, asked)

    def _lost_too_much(self, candidate: TextCandidate) -> str:
        """Why it may not be shipped, a clause: what it surely loses is more than was asked; empty where it may."""
        parity = candidate.parity
        if self.limit is None or parity.rise.value <= self.limit.bound(parity.before):
            return ""
        return f"perplexity {parity.said}, at most {self.limit} was asked"

    def _through(self, rounding: Rounding) -> TextCandidate:
        """Every step, in order."""
        directory = Path(tempfile.mkdtemp(prefix=f"{rounding.precision}-engine-", dir=self.scratch))
        weights = Digesting(weights=rounding.weights)
        with self.step(f"{rounding.title}, written") as advance:
            written = self.form.write(
                self.source.decoder,
                weights,
                directory,
                target=self.target,
                tokenizer=self.source.tokenizer,
                advance=lambda share: advance(share, ""),
            )
        engine = Engine(
            path=written.path,
            backend=self.target.backend,
            target=self.target,
            precision=rounding.precision,
            inputs=written.inputs,
            outputs=written.outputs,
        )
        rounded = replace(rounding.rounded, digest=weights.digest)
        candidate = self._proven(engine, rounding, rounded)
        return replace(candidate, notes=written.notes)

    def _proven(self, engine: Engine, rounding: Rounding, rounded: Rounded) -> TextCandidate:
        """The candidate, whose engine answered to text.

        Raises:
            VerificationError: it does not compute what its weights say, or not what the library makes of it.
        """
        (judge, golden), backend = self.judges, load_backend(self.target.backend)
        self.place.need(self.target)
        with self.step(f"{rounding.title}, proven"), backend.decode(engine, self.threads) as decoding:
            told = judge.told(decoding)
            strays = engine_strays(self.source, rounding, golden, decoding)
            written = golden_text(golden, decoding)
            missing = same_as_library(engine, decoding, golden.windows[0], self.threads)
        return TextCandidate(
            precision=rounding.precision,
            rounded=rounded,
            engine=engine,
            size=directory_bytes(engine.path.parent),
            parity=judge.parity(told, self.place.how(self.target)),
            golden=written,
            language=self._language(judge, told, rounded),
            evidence=tuple(self._evidence(told, judge, strays)),
            missing=missing,
        )

    def _language(self, judge: Judge, told: Comparison, rounded: Rounded) -> Language:
        decoder = self.source.decoder
        return Language(
            context=decoder.context,
            vocabulary=decoder.vocabulary,
            parity=judge.parity(told, self.place.how(self.target)),
            bits=rounded.bits,
            tried=rounded.tried,
            calibration=rounded.calibration,
        )

    def _evidence(self, told: Comparison, judge: Judge, strays: float) -> Iterator[Evidence]:
        parity = judge.parity(told, "")
        tool, machine = self.place.tool(self.target), str(self.place.machine.processor)
        kind = self.place.evidence(self.target)
        for claim in (
            f"On {parity.tokens:,} tokens of {parity.text} the perplexity rose from {parity.said}.",
            f"The engine is {strays:.5f} nats a token from what its own weights say in torch.",
        ):
            yield Evidence(about="engine", claim=claim, kind=kind, tool=tool, machine=machine)


def precision_of(recipe: Recipe) -> PrecisionName:
    """The fewest bits that the recipe lets a decoder have.

    Raises:
        InputError: a precision that decoders are not made in.
    """
    name = "int4" if recipe.precision == "auto" else recipe.precision
    if name not in ("int4", "int8", "fp32"):
        raise InputError(
            f"A decoder has its weights in int4, int8 or fp32, not in {name}.", hint="Choose one with --precision."
        )
    return name
