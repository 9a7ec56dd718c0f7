"""What lies beside an OpenVINO decoder: tokenizer, detokenizer, configuration; and text that the library writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from edgepress.backends.base import Engine
from edgepress.backends.decoding import Sampling
from edgepress.backends.openvino import OpenVino
from edgepress.errors import InputError, UnservedError
from edgepress.exporter.language.writers._openvino_files import write_configuration
from edgepress.exporter.language.writers.openvino import OpenVinoGenai
from edgepress.profiles.device.target import load_target

from ._families import made, opened
from ._rounded import Plain

TEMPLATE = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def tokenized(directory: Path) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of at most 97 words, with a template of conversations."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=97, special_tokens=["<pad>", "<s>", "</s>"])
    tokenizer.train_from_iterator(["the user asks, the assistant answers: a system of words"] * 3, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", chat_template=TEMPLATE
    )
    fast.save_pretrained(directory)
    return fast


def written(directory: Path, tokenizer: Path | None) -> Engine:
    _, decoder, checkpoint = opened(directory)
    engine = directory / "engine"
    engine.mkdir()
    target = load_target("cpu")
    wrote = OpenVinoGenai().write(
        decoder,
        Plain(decoder, checkpoint),
        engine,
        target=target,
        tokenizer=tokenizer,
        advance=lambda share: None,
    )
    return Engine(
        path=wrote.path, backend="openvino", target=target, precision="fp32", inputs=wrote.inputs, outputs=wrote.outputs
    )


def test_a_conversation_becomes_text_by_the_files_of_the_directory_alone(tmp_path: Path) -> None:
    pytest.importorskip("openvino_genai")
    pytest.importorskip("openvino_tokenizers")
    made("llama", tmp_path)
    tokenizer = tokenized(tmp_path)
    engine = written(tmp_path, tmp_path)
    with OpenVino().generate(engine, threads=1) as generation:
        text = generation.prompt([{"role": "user", "content": "a word"}])
        assert text == "<s>user: a word\nassistant:"
        prompt = generation.encode(text)
        assert prompt == tokenizer(text).input_ids
        tokens: list[int] = []
        generation.run(prompt, 12, tokens.append)
        pieces: list[str] = []
        count = generation.write(prompt, 12, pieces.append, Sampling())
        ends = [*(index for index, token in enumerate(tokens) if token == 2), 12]
        assert count == ends[0]
        assert "".join(pieces).strip() == tokenizer.decode(tokens[: ends[0]], skip_special_tokens=True).strip()

        def fail(piece: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            generation.run(prompt, 5, fail)
        with pytest.raises(KeyboardInterrupt):
            generation.write(prompt, 5, fail, Sampling())
        assert generation.write(prompt, 5, pieces.append, Sampling(temperature=0.9, top_k=20, seed=1)) <= 5


def test_the_configuration_of_the_source_stays_and_ends_of_text_are_the_decoders(tmp_path: Path) -> None:
    made("llama", tmp_path)
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6, "eos_token_id": 5}', encoding="utf-8")
    _, decoder, _ = opened(tmp_path)
    engine = tmp_path / "engine"
    engine.mkdir()
    write_configuration(decoder, tmp_path, engine)
    generation = json.loads((engine / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["temperature"] == 0.6
    assert generation["eos_token_id"] == (decoder.eos[0] if len(decoder.eos) == 1 else list(decoder.eos))
    config = json.loads((engine / "config.json").read_text(encoding="utf-8"))
    assert (config["model_type"], config["max_position_embeddings"]) == ("llama", 64)


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("openvino_tokenizers")
    made("llama", tmp_path)
    tokenized(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be loaded"):
        written(tmp_path, tmp_path)


def test_without_the_vendors_library_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("llama", tmp_path)
    engine = written(tmp_path, None)
    monkeypatch.setitem(sys.modules, "openvino_genai", None)
    with pytest.raises(UnservedError, match="openvino-genai"):
        OpenVino().generate(engine)
    tokenized(tmp_path)
    monkeypatch.setitem(sys.modules, "openvino_tokenizers", None)
    (tmp_path / "again").mkdir()
    (tmp_path / "engine").rename(tmp_path / "again" / "engine")
    with pytest.raises(UnservedError, match="tokenizers is not installed"):
        written(tmp_path, tmp_path)
