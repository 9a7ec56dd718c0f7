"""Directories of transformers: loaded as they are, and never with code of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgepress.errors import InputError
from edgepress.exporter.sources import load_source, torch_predict


def fails(spec: str, *, trust: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        load_source(spec, trust=trust)
    return str(caught.value)


def test_a_hugging_face_text_model_on_disk(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=3
    )
    module = BertForSequenceClassification(config).eval()
    module.save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "README.md").write_text(
        "---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n\nlicense: mit\n"
    )
    source = load_source(str(tmp_path / "bert"))
    assert source.kind == "huggingface"
    assert source.licence == "apache-2.0"
    assert source.dynamic == {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask")}
    assert source.inputs["input_ids"].max() < 40
    found = torch_predict(source)(source.inputs)
    expected = module(**{name: torch.from_numpy(array) for name, array in source.inputs.items()}).logits
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], expected.detach().numpy(), rtol=1e-5)


def test_a_hugging_face_image_model_and_a_generative_one(tmp_path: Path) -> None:
    from transformers import BloomConfig, BloomForCausalLM, ViTConfig, ViTForImageClassification

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    ViTForImageClassification(ViTConfig(**small, image_size=16, patch_size=8)).save_pretrained(tmp_path / "vit")
    source = load_source(str(tmp_path / "vit"))
    assert source.inputs["pixel_values"].shape == (2, 3, 16, 16)
    assert list(torch_predict(source)(source.inputs)) == ["logits"]
    BloomForCausalLM(BloomConfig(hidden_size=16, n_layer=1, n_head=2, vocab_size=40)).save_pretrained(
        tmp_path / "bloom"
    )
    source = load_source(str(tmp_path / "bloom"))
    assert list(torch_predict(source)(source.inputs)) == ["logits"]  # no cache among the outputs


def test_a_hugging_face_directory_that_cannot_be_served_says_why(tmp_path: Path) -> None:
    assert "has no config.json" in fails(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    assert "is not JSON" in fails(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    assert "has no weights" in fails(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    assert "--trust-source" in fails(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    assert "cannot be loaded as BertModel" in fails(str(tmp_path))
    (tmp_path / "config.json").write_text('{"architectures": ["MyOwnModel"]}')
    assert "is a MyOwnModel, which transformers" in fails(str(tmp_path), trust=True)


def bert(directory: Path) -> dict[str, Any]:
    """A small model on disk, beside code that leaves a mark; its configuration."""
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(config).save_pretrained(directory)
    (directory / "evil.py").write_text(
        f"import pathlib; pathlib.Path({str(directory / 'mark')!r}).touch()\n"
        "from transformers import BertConfig as EvilConfig, BertModel as Evil\n"
    )
    return json.loads((directory / "config.json").read_text())


def test_the_parts_of_a_model_ask_nobody_for_leave_to_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known class whose decoder is one that transformers has no class of, except the one in the directory."""
    from transformers import ViTConfig

    own = bert(tmp_path)
    decoder = {**ViTConfig().to_dict(), "auto_map": {"AutoModelForCausalLM": f"{tmp_path}--evil.Evil"}}
    config = {"architectures": ["VisionEncoderDecoderModel"], "model_type": "vision-encoder-decoder"}
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "encoder": ViTConfig(hidden_size=16).to_dict(), "decoder": decoder, "bert": own})
    )
    monkeypatch.setattr("builtins.input", lambda *prompt: "y")  # as a notebook has one of its own
    assert "cannot be loaded as VisionEncoderDecoderModel" in fails(str(tmp_path))
    assert not (tmp_path / "mark").exists()


def test_attention_of_another_repository_is_refused(tmp_path: Path) -> None:
    config = bert(tmp_path)
    for part in ({"attn_implementation": "someone/kernels"}, {"text_config": {"_attn_implementation": {"": "a/b"}}}):
        (tmp_path / "config.json").write_text(json.dumps(config | part))
        assert "code from elsewhere" in fails(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config | {"attn_implementation": "eager"}))
    assert load_source(str(tmp_path)).kind == "huggingface"
