"""The text that a decoder is calibrated on, judged by and proven with, as tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...backends.decoding import Tokens
from ...errors import InputError
from ..language.decoder import Decoder
from ..language.text import OWN, calibration_text, held_out_text, text_of
from ..language.tokens import drawn, tokens_of
from ..progress import Advance
from ..recipe import Recipe
from ..sources.decoder import DecoderSource
from .judging import FEW_WINDOWS, LENGTH, SHORT, WINDOWS, AskedText, Judge, asked, window_count, windows_of

# Characters of a text that are read, about four a token: more than calibration takes.
MOST = 600_000
# Share of the user's text that nothing is fitted to, its end.
HELD_OUT = 0.25
# Golden sequences and their tokens: text of nobody's, which may lie in a bundle.
GOLDEN, GOLDEN_LENGTH = 2, 64
# The file of FP32's answers to the text that it is judged by.
ANSWERS = "judged"
_DRAWN = "tokens drawn at random, as the model has no tokenizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Tokens in a row each, of shape (count,), int64.

    Attributes:
        read: the tokens to calibrate on, none of `judging`; asked for where something is calibrated.
        said, judged_by: what they are, in words.
    """

    read: Callable[[], Tokens]
    judging: Tokens
    golden: Tokens
    said: str
    judged_by: str

    @property
    def calibration(self) -> Tokens:
        """Tokens to calibrate on."""
        return self.read()

    @classmethod
    def of(cls, source: DecoderSource, recipe: Recipe, *, brief: bool = False) -> Texts:
        """The user's own text where one is given, else one that every Python has, else random tokens.

        Args:
            brief: few windows will be judged, and nothing is calibrated.

        Raises:
            InputError: the user's text cannot be read, is too short, or there is no tokenizer for it.
        """
        vocabulary, directory = source.decoder.vocabulary, source.tokenizer
        if directory is None:
            return cls._of_no_tokenizer(source.name, vocabulary, recipe)
        given = None if recipe.calibration is None else _given(Path(recipe.calibration), directory, vocabulary)
        held_out = tokens_of(held_out_text(brief=brief)[:MOST], directory, vocabulary)
        golden, rest = held_out[: GOLDEN * GOLDEN_LENGTH], held_out[GOLDEN * GOLDEN_LENGTH :]
        if given is None:
            read = cache(lambda: tokens_of(calibration_text()[:MOST], directory, vocabulary))
            return cls(read=read, judging=rest, golden=golden, said=OWN, judged_by=OWN)
        name, cut = Path(recipe.calibration or "").name, int(len(given) * (1 - HELD_OUT))
        said, judged_by = f"the beginning of {name}", f"the last quarter of {name}, kept apart"
        return cls(read=lambda: given[:cut], judging=given[cut:], golden=golden, said=said, judged_by=judged_by)

    @classmethod
    def _of_no_tokenizer(cls, name: str, vocabulary: int, recipe: Recipe) -> Texts:
        if recipe.calibration is not None:
            raise InputError(
                f"{name} has no tokenizer, so that the text in {recipe.calibration} cannot be read as tokens.",
                hint="Put tokenizer.json and tokenizer_config.json beside the model.",
            )
        calibration, judging, golden = (
            drawn(vocabulary, count, recipe.seed + index)
            for index, count in enumerate((64 * LENGTH, WINDOWS * LENGTH, GOLDEN * GOLDEN_LENGTH))
        )
        return cls(read=lambda: calibration, judging=judging, golden=golden, said=_DRAWN, judged_by=_DRAWN)

    def judges(
        self, source: DecoderSource, directory: Path, advance: Advance, *, brief: bool = False
    ) -> tuple[Judge, Judge]:
        """FP32's answers to the text that it is judged by, and to the golden one.

        Args:
            brief: few and short windows do.
        """
        reference, context = source.reference(), source.decoder.context
        count = window_count(source.decoder.parameters)
        count, length = (min(count, FEW_WINDOWS), SHORT) if brief else (count, LENGTH)
        windows = windows_of(self.judging, count, min(length, context))
        golden = windows_of(self.golden, GOLDEN, min(GOLDEN_LENGTH, context))
        judge, other = asked(
            reference,
            (
                AskedText(said=self.judged_by, windows=windows, answers=directory / ANSWERS),
                AskedText(said=OWN, windows=golden, answers=directory / "golden"),
            ),
            advance,
        )
        return judge, other


def answer_bytes(decoder: Decoder) -> int:
    """Most that FP32's answers to both texts take on disk."""
    judged, golden = WINDOWS * min(LENGTH, decoder.context), GOLDEN * min(GOLDEN_LENGTH, decoder.context)
    return 4 * (judged + golden) * decoder.vocabulary


def _given(path: Path, directory: Path, vocabulary: int) -> Tokens:
    """The tokens of the user's own text.

    Raises:
        InputError: it cannot be read, or is too short.
    """
    tokens = tokens_of(text_of(path)[:MOST], directory, vocabulary)
    if HELD_OUT * len(tokens) < 2 * LENGTH:
        raise InputError(
            f"{path} has {len(tokens):,} tokens; a quarter of them is kept for judging, and at least {2 * LENGTH} are "
            "needed for that.",
            hint="Give a longer text, or none: then text of Python's own documentation is taken.",
        )
    return tokens
