"""What torch's exporters cannot follow, and say in words that nobody knows the model by."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from ....errors import InputError
from ...sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """One such failure.

    Attributes:
        words: of the exporter's message, one of them.
        file: of torch, through which the call went; empty for any.
        what: what the model's forward does.
        hint: the way out.
    """

    words: tuple[str, ...]
    file: str = ""
    what: str
    hint: str


_KNOWN = (
    _Known(
        words=("must be tuple of ints",),
        file="torch/nn/modules/rnn.py",
        what="runs a recurrent layer over a packed sequence and reads its states",
        hint="Read the results instead: pad_packed_sequence(result), at the places lengths - 1, which torch's "
        "exporter takes; or leave pack_padded_sequence out where all sequences fill the axis.",
    ),
    _Known(
        words=("fake tensor in the exported program constant's list", "is mutated in the forward"),
        what="makes a tensor that torch.export does not follow: it asks for a gradient (torch.autograd.grad), or keeps "
        "a tensor as an attribute or in the .data of another",
        hint="Write a gradient out as a formula, or export what it is taken of alone; what is kept from call to call, "
        "make an input and an output of forward.",
    ),
)


def not_followed(source: Source, chain: Sequence[BaseException], text: str, where: str) -> InputError | None:
    """The failure in the model's words, where it is known."""
    files = [frame.filename for link in chain for frame in traceback.extract_tb(link.__traceback__)]
    for known in _KNOWN:
        through = any(file.endswith(known.file) for file in files)
        if through and any(words in text for words in known.words):
            return InputError(f"{source.name} cannot be exported: its forward {known.what}.{where}", hint=known.hint)
    return None
