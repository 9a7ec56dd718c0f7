"""The vendor's tokenizer is held to the model's own: what it reads otherwise is said, what it does not know refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepress.errors import VerificationError
from edgepress.exporter.decoding.read_alike import Readings

from ._flow import Cli
from ._language import QUICK, tale

# As transformers writes it of a GGUF file: byte pairs whose decoder is sentencepiece's.
SENTENCEPIECE = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ],
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tale(tmp_path_factory.mktemp("tale") / "tale")


class Library:
    """A vendor's tokenizer with one thing of its own."""

    def __init__(self, readings: Readings, *first: int) -> None:
        self.tokens = dict(readings.whole)
        if first:
            self.tokens[next(iter(self.tokens))] = first

    def encode(self, text: str) -> list[int]:
        return list(self.tokens[text])


def test_a_tokenizer_of_another_kind_is_refused(directory: Path, tmp_path: Path, cli: Cli) -> None:
    ran = cli("export", directory, "--target", "server-cpu", "-o", tmp_path / "right", *QUICK)
    assert ran.code == 0, ran.err
    path = directory / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"decoder": SENTENCEPIECE}))
    ran = cli("export", directory, "--target", "server-cpu", "-o", tmp_path / "other", *QUICK)
    assert ran.code == 4
    assert "tokenizer does not know tokens of 3 of 3 sentences" in ran.err
    assert not list((tmp_path / "other").glob("*"))


def test_other_tokens_are_said_and_unknown_ones_refused(directory: Path) -> None:
    readings = Readings.of(directory)
    assert not readings.held(Library(readings))
    told = readings.held(Library(readings, 5, 6))
    assert "reads 1 of 3 sentences otherwise" in told
    assert "[5, 6]" in told
    with pytest.raises(VerificationError, match="does not know tokens of 1 of 3 sentences"):
        readings.held(Library(readings, 5, -1))
