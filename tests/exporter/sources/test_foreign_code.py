"""A model directory from a stranger: nothing in it is run, whatever it says of itself and whatever stands on stdin."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.exporter.sources import load_source
from edgepress.exporter.sources.quiet import quiet

OWN = """
import pathlib
pathlib.Path({marker!r}).touch()
from transformers import BertConfig as OwnConfig, BertModel as OwnModel
"""
AUTO = {
    "AutoConfig": "own.OwnConfig",
    "AutoModel": "own.OwnModel",
    "AutoModelForSequenceClassification": "own.OwnModel",
}


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A small BERT with Python beside it, which its configuration asks to be run."""
    from transformers import BertConfig, BertModel

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=40, **small)).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "own.py").write_text(OWN.format(marker=str(tmp_path / "ran")))
    return tmp_path / "bert"


def claim(directory: Path, **changes: object) -> None:
    """Change the configuration."""
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": AUTO} | changes))


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("kind", ["bert", "own"])
@pytest.mark.parametrize(
    "architecture",
    ["BertModel", "AutoModel", "AutoModelForSequenceClassification", "OwnModel", "AutoConfig", "pipeline"],
)
def test_code_beside_a_model_is_never_run(
    stranger: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, kind: str, trust: bool
) -> None:
    claim(stranger, architectures=[architecture], model_type=kind)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    try:
        assert load_source(str(stranger), trust=trust).kind == "huggingface"
        assert architecture == "BertModel"
    except InputError as error:
        assert architecture != "BertModel" or kind == "own", error
    assert not (stranger.parent / "ran").exists()


def test_nobody_answers_a_question_that_nobody_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with quiet(), pytest.raises(EOFError):
        input("Run it?")
    assert input() == "y"
