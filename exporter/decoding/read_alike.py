"""The vendor's tokenizer against the model's own: another one feeds a right engine words that nobody wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...backends.decoding import Generation
from ...errors import VerificationError
from ..language.tokens import tokenizer_in

# Words, code, numbers, spaces, accents, and letters that a vocabulary may have as bytes alone.
SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and doesn't look back.",
    "def twice(x: int) -> int:\n    return 2 * x  # 10,000 times\n",
    "Übergröße: 3,5 µm — naïve café. 数字と文字 12 345?",
)
_HINT = (
    "It reads the model's tokenizer.json otherwise than transformers does. Save the tokenizer in a form that it knows "
    "(of byte-level BPE, with a ByteLevel decoder), or take its files away: the bundle then takes tokens."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What the model's own tokenizer makes of the sentences: alone, and with what it begins and ends a text with."""

    plain: Mapping[str, tuple[int, ...]]
    whole: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, tokenizer: Path) -> Readings:
        """By transformers.

        Args:
            tokenizer: directory of its files.

        Raises:
            InputError: the files are damaged.
        """
        read = tokenizer_in(tokenizer)
        plain, whole = (
            {text: tuple(read(text, add_special_tokens=special, verbose=False)["input_ids"]) for text in SENTENCES}
            for special in (False, True)
        )
        return cls(plain=plain, whole=whole)

    def held(self, library: Generation) -> str:
        """What to say of sentences that the library reads otherwise, a sentence; empty where it reads all alike.

        Raises:
            VerificationError: it does not know tokens of them, so that a text would be written behind noise.
        """
        found = {text: tuple(library.encode(text)) for text in SENTENCES}
        if unknown := [text for text, tokens in found.items() if min(tokens, default=0) < 0]:
            raise VerificationError(
                f"The runtime's tokenizer does not know tokens of {len(unknown)} of {len(found)} sentences, first of "
                f"{unknown[0]!r}, which the model's own reads as {list(self.plain[unknown[0]][:8])}.",
                hint=_HINT,
            )
        other = [text for text, tokens in found.items() if tokens not in (self.plain[text], self.whole[text])]
        if not other:
            return ""
        return (
            f"The runtime's tokenizer reads {len(other)} of {len(found)} sentences otherwise than the model's own, "
            f"first {other[0]!r}: {list(found[other[0]][:8])} in place of {list(self.whole[other[0]][:8])}. The model "
            "was not trained on such tokens: give tokens to the engine, or look at its tokenizer.json."
        )
