"""Directories of models that write text: known families are decoders, and what cannot be expressed is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from edgepress.errors import InputError
from edgepress.exporter.sources import DecoderSource, Source, load_model, load_source

from ..._llama import saved_llama


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return saved_llama(tmp_path / "llama")


def claim(directory: Path, name: str = "config.json", **changes: object) -> None:
    path = directory / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | changes))


def refusal(directory: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_model(str(directory))
    return str(caught.value)


def loaded(directory: Path) -> DecoderSource:
    source = load_model(str(directory))
    assert isinstance(source, DecoderSource)
    return source


def test_a_directory_of_a_known_family_is_a_decoder(llama: Path) -> None:
    source = loaded(llama)
    assert (source.name, source.kind, source.decoder.kind) == ("llama", "huggingface", "llama")
    assert source.tokenizer is None
    assert source.notes == ("llama has no tokenizer: what is made of it writes tokens, and no text.",)
    with pytest.raises(InputError, match="edgepress export"):
        load_source(str(llama))


def test_the_settings_of_generation_say_where_a_text_ends(llama: Path) -> None:
    assert loaded(llama).decoder.eos == (1,)
    before = loaded(llama).digest
    claim(llama, "generation_config.json", eos_token_id=[5, 7, 4000], pad_token_id=3, bos_token_id=None)
    source = loaded(llama)
    assert (source.decoder.eos, source.decoder.pad) == ((5, 7), 3)
    assert source.digest != before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hidden_act": "tanh"}, "Tanh"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "'dynamic'"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"attention_bias": True}, "q_proj.bias"),
        ({"num_hidden_layers": 1}, "model.layers.1."),
        ({"num_hidden_layers": 3}, "model.layers.2."),
        ({"intermediate_size": 33}, "expected is (33, 64)"),
    ],
)
def test_what_a_configuration_says_is_never_left_out(changes: dict[str, Any], named: str, llama: Path) -> None:
    claim(llama, **changes)
    assert named in refusal(llama)


def test_settings_that_the_class_does_not_know_change_nothing(llama: Path) -> None:
    """transformers keeps them and computes as without; so does what is described."""
    before = loaded(llama).decoder
    claim(llama, sliding_window=3, residual_multiplier=0.5, embedding_multiplier=2.0, final_logit_softcapping=1.0)
    assert loaded(llama).decoder == before


def test_weights_in_pickles_alone_are_refused(llama: Path) -> None:
    (llama / "model.safetensors").rename(llama / "pytorch_model.bin")
    assert "--trust-source" in refusal(llama)


def test_a_model_of_another_kind_stays_one_forward(tmp_path: Path) -> None:
    config = transformers.BloomConfig(vocab_size=40, hidden_size=16, n_layer=1, n_head=2)
    transformers.BloomForCausalLM(config).save_pretrained(tmp_path)
    assert isinstance(load_model(str(tmp_path)), Source)


def test_an_encoder_with_a_decoder_is_refused_with_the_reason(tmp_path: Path) -> None:
    small = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = transformers.T5Config(**small, decoder_start_token_id=0)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    assert "an encoder and a decoder" in refusal(tmp_path)
