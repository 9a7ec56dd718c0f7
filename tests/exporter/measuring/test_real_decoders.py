"""A small decoder with drawn weights on each runtime's own library: it writes, is timed, and is what torch computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from edgepress.backends.places.text_runs import Prompts
from edgepress.backends.places.text_speed import time_text
from edgepress.exporter.bundle.manifest import load_bundle, write_manifest
from edgepress.exporter.language.footprint import footprint
from edgepress.exporter.language.forms import load_form
from edgepress.profiles.device.target import load_target

from ..language._families import made, opened
from ..language._rounded import Plain
from ._decoders import decoder_bundle

EDGEPRESS = Path(sys.executable).with_name("edgepress")
LIBRARIES = {"server-cpu": "onnxruntime_genai", "cpu": "openvino_genai"}
TEXT = "the cat sat on the mat and the dog sat on the log, once upon a time"
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
SIZE = {"max_position_embeddings": 256, "tie_word_embeddings": True, "hidden_size": 64,
        "head_dim": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A model and a tokenizer as `save_pretrained` writes them."""
    path = tmp_path_factory.mktemp("source")
    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>"]
    # Letters alone: what a drawn model writes of bytes is no text, and each library tells it in its own way.
    alphabet = [letter for letter in pre_tokenizers.ByteLevel.alphabet() if letter.isascii() or letter in "ĊĠ"]
    trainer = trainers.BpeTrainer(vocab_size=160, special_tokens=special, initial_alphabet=alphabet)
    words.train_from_iterator([TEXT] * 10, trainer)
    model = made("llama", path, vocab_size=words.get_vocab_size(), **SIZE)
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(path)
    return SimpleNamespace(path=path, model=model, tokenizer=fast)


@pytest.fixture(scope="module", params=["server-cpu", pytest.param("cpu", marks=pytest.mark.slow)])
def bundle(request: pytest.FixtureRequest, source: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model for a target, with its tokenizer."""
    if find_spec(LIBRARIES[request.param]) is None:
        pytest.skip(f"{LIBRARIES[request.param]} is not installed")
    path, target = tmp_path_factory.mktemp("bundle"), load_target(request.param)
    _, decoder, checkpoint = opened(source.path)
    (path / "written").mkdir()
    written = load_form(target).write(
        decoder, Plain(decoder, checkpoint), path / "written", target=target, tokenizer=source.path,
        advance=lambda share: None,
    )  # fmt: skip
    files = {one.name: one.read_bytes() for one in (path / "written").iterdir()}
    memory = footprint(decoder, 4 * decoder.parameters, 0, decoder.context, 4)
    assert memory.cache == 2 * 3 * 256 * 2 * 16 * 4
    told = {"context": 256, "vocabulary": decoder.vocabulary, "memory": memory}
    laid = decoder_bundle(path / "story", target, files, written.path.name, **told)
    model = replace(laid.manifest.model, inputs=written.inputs, outputs=written.outputs)
    write_manifest(laid.path, replace(laid.manifest, model=model))
    return laid.path


def edgepress(*words: object) -> SimpleNamespace:
    done = subprocess.run([str(EDGEPRESS), *map(str, words)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "NO_COLOR": "1"})  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


def test_text_is_what_torch_writes(bundle: Path, source: SimpleNamespace) -> None:
    for words, prompt in (((), "user: the cat\nassistant:"), (("--raw",), "the cat")):
        ran = edgepress("generate", bundle, "the cat", "--tokens", 24, "--json", *words)
        assert ran.code == 0, ran.err
        told = json.loads(ran.out)
        tokens = source.tokenizer.encode(prompt)
        assert told["prompt_tokens"] == len(tokens)
        with torch.no_grad():
            wanted = source.model.generate(torch.tensor([tokens]), max_new_tokens=24, do_sample=False)[0, len(tokens) :]
        text = source.tokenizer.decode(wanted, skip_special_tokens=True)
        assert told["text"] == text and text
        assert told["first_token_ms"] > 0


def test_sampling_is_repeated_by_its_seed(bundle: Path) -> None:
    def sampled(seed: int) -> str:
        ran = edgepress("generate", bundle, "the cat", "-q", "--tokens", 16, "--temperature", 1.5, "--seed", seed)
        assert ran.code == 0, ran.err
        return str(ran.out)

    first = sampled(1)
    assert sampled(1) == first != sampled(2)


def test_a_prompt_longer_than_the_context_is_refused(bundle: Path) -> None:
    ran = edgepress("generate", bundle, "the cat sat " * 200)
    assert ran.code == 1 and "reads at most 255" in ran.err and ran.out == ""


def test_a_real_library_is_timed(bundle: Path) -> None:
    manifest, engine = load_bundle(bundle).manifest, load_bundle(bundle).engine
    assert engine is not None and manifest.language is not None
    prompts = Prompts(depths=(16, 128), written=9, vocabulary=manifest.language.vocabulary)
    found = time_text(engine, prompts, 1, name="story")
    short, long = found.speed.depths
    assert short.written == 9
    # Which of two prompts of so small a model takes longer is chance where others want the processor.
    for one in (short, long):
        assert one.prefill.value == pytest.approx(one.depth / one.first_token.value * 1e3, rel=0.01)
        assert 0 < one.decode.value < 1e6 and 0 < one.prefill.value < 1e7
    assert found.memory is not None and found.memory.peak > found.memory.before > 0
    assert found.cold is not None and min(found.cold.total) > 0
