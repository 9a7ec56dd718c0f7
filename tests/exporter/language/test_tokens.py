"""Text as tokens: a tokenizer's files are read, and code that lies beside them is never run."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepress.errors import EdgepressError, InputError
from edgepress.exporter.language.tokens import drawn, tokens_of
from edgepress.exporter.language.writers._openvino_files import write_tokenizer

# transformers runs a copy of it that lies elsewhere.
CODE = """
from pathlib import Path
Path({ran!r}).touch()
from transformers import PreTrainedTokenizerFast
class Evil(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2, "c": 7}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_tokens_of_a_text(directory: Path):
    assert tokens_of("a b z c", directory, 8).tolist() == [1, 2, 0, 7]


def test_a_token_that_the_model_does_not_have_is_refused(directory: Path):
    with pytest.raises(InputError, match="gives token 7, and the model has 7"):
        tokens_of("a c", directory, 7)


def test_settings_that_fail_at_the_first_text_are_refused_when_the_tokenizer_is_loaded(directory: Path):
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": ""}))
    with pytest.raises(InputError, match="cannot be loaded: '>' not supported") as caught:
        tokens_of("a", directory, 8)
    assert "tokenizer_config.json" in str(caught.value.hint)


@pytest.mark.parametrize("read", ["as tokens", "for OpenVINO"])
def test_code_beside_a_tokenizer_is_not_run_whatever_stands_on_standard_input(directory: Path, monkeypatch, read: str):
    (directory / "evil.py").write_text(CODE.format(ran=str(directory / "ran")))
    path = directory / "tokenizer_config.json"
    changed = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 5))
    out = directory.parent / "out"
    out.mkdir()
    try:
        _ = tokens_of("a", directory, 8) if read == "as tokens" else write_tokenizer(directory, out)
    except EdgepressError as error:
        assert "tokenizer" in error.message.lower()
    assert not (directory / "ran").exists()


def _bytes_and_more(directory: Path, *words: str) -> Path:
    """A tokenizer of bytes whose decoder has the steps that transformers gives it from a GGUF file."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    whole = Tokenizer(models.BPE())
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    steps = (decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " "), decoders.ByteLevel())
    whole.decoder = decoders.Sequence(list(steps))
    alphabet = [*pre_tokenizers.ByteLevel.alphabet(), *words]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    whole.train_from_iterator(["so much for words, and for words in words"], trainer)
    PreTrainedTokenizerFast(tokenizer_object=whole, eos_token="<s>").save_pretrained(directory)
    return directory


def test_openvino_takes_a_tokenizer_of_bytes_from_a_gguf_file(tmp_path: Path):
    import openvino
    import openvino_tokenizers  # noqa: F401  # its operators

    write_tokenizer(_bytes_and_more(tmp_path / "model"), tmp_path)
    read, written = (openvino.compile_model(tmp_path / f"openvino_{name}.xml") for name in ("tokenizer", "detokenizer"))
    text = "for words:\n\tä ▁ 😀  and"
    tokens = read([text])["input_ids"]
    assert tokens[0].tolist() == tokens_of(text, tmp_path / "model", 300).tolist()
    assert written(tokens)[0] == text


def test_steps_that_change_a_text_are_not_dropped_for_openvino(tmp_path: Path):
    with pytest.raises(InputError, match="OpenVINO does not take the tokenizer in model"):
        write_tokenizer(_bytes_and_more(tmp_path / "model", "▁"), tmp_path)


def test_drawn_tokens_are_of_the_model_and_the_same_by_their_seed():
    tokens = drawn(50, 1000, seed=3)
    assert (tokens.min(), tokens.max(), tokens.dtype) == (0, 49, np.int64)
    np.testing.assert_array_equal(tokens, drawn(50, 1000, seed=3))
    assert (tokens != drawn(50, 1000, seed=4)).any()
