"""A decoder on onnxruntime goes on as torch does, and the vendor's own library as the engine alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import PreTrainedModel

from edgepress.backends._onnxruntime import decoding as _onnxruntime_decoding
from edgepress.backends.base import Engine
from edgepress.backends.decoding import Sampling
from edgepress.backends.registry import load_backend
from edgepress.errors import InputError, UnservedError

from ._families import made, opened
from ._toy import Toy
from ._written import Rounded, blocks, written

MOST = 256
PROMPT = [5, 17, 80, 3, 41]


def exported(directory: Path, bits: int | None = None) -> tuple[PreTrainedModel, Engine]:
    model = made("llama", directory, head_dim=16, max_position_embeddings=MOST + len(PROMPT))
    _, decoder, checkpoint = opened(directory)
    grid = None if bits is None else blocks(bits, 32)
    return model, written(decoder, Rounded(decoder=decoder, checkpoint=checkpoint, grid=grid), directory / "out")


def continued(engine: Engine, most: int = MOST) -> list[int]:
    """Greedily, by the engine alone."""
    found: list[int] = []
    with load_backend("onnxruntime").decode(engine, 2) as decoding:
        tokens = PROMPT
        while len(found) < most:
            found.append(int(decoding(np.asarray([tokens]))[0, -1].argmax()))
            tokens = found[-1:]
    return found


def test_256_tokens_are_those_of_torch_with_and_without_a_cache(tmp_path: Path) -> None:
    model, engine = exported(tmp_path)
    asked = torch.tensor([PROMPT])
    got = continued(engine)
    for cached in (True, False):
        settings = {"do_sample": False, "use_cache": cached, "eos_token_id": None, "pad_token_id": 0}
        with torch.no_grad():
            want = model.generate(asked, max_new_tokens=MOST, min_new_tokens=MOST, **settings)
        assert got == want[0, len(PROMPT) :].tolist()
    assert len(set(got)) > 5


@pytest.mark.parametrize("bits", [None, 4])
def test_the_library_goes_on_as_the_engine_alone_past_ends_of_text(bits: int | None, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    _, engine = exported(tmp_path, bits)
    want = continued(engine)
    config = engine.path.with_name("genai_config.json")
    text = json.loads(config.read_text())
    text["model"]["eos_token_id"] = want[3]  # an end of text in the midst of it
    config.write_text(json.dumps(text))
    with load_backend("onnxruntime").generate(engine, 2) as generation:
        got: list[int] = []
        generation.run(PROMPT, MOST, got.append)
        assert got == want
        with pytest.raises(InputError, match="has no tokens"):
            generation.run([], 4, got.append)
        with pytest.raises(InputError, match="are 262; out has a context of 261"):
            generation.run(PROMPT, MOST + 1, got.append)
        with pytest.raises(InputError, match="has no tokenizer"):
            generation.write(PROMPT, 4, str, Sampling())
        assert generation.prompt([{"role": "user", "content": "Hello"}]) is None


@pytest.mark.parametrize("bits", [None, 4])
def test_the_library_gets_logits_of_the_last_token_of_each_row_and_no_others(bits: int | None, tmp_path: Path) -> None:
    library = pytest.importorskip("onnxruntime_genai")
    _, engine = exported(tmp_path, bits)
    rows = [PROMPT, [9, 4], [77, 12, 6, 30]]
    model = library.Model(str(engine.path.parent))
    with load_backend("onnxruntime").decode(engine, 2) as decoding:
        for row in rows:
            alone = library.Generator(model, _parameters(library, model, 1))
            alone.append_tokens(np.asarray(row, dtype=np.int32))
            decoding.reset()
            want = decoding(np.asarray([row]))[0, -1]
            assert np.asarray(alone.get_output("logits")).shape == (1, 1, len(want))
            np.testing.assert_allclose(np.asarray(alone.get_logits()).reshape(-1), want, atol=1e-4)


def test_rows_of_several_lengths_are_written_as_each_alone(tmp_path: Path) -> None:
    library = pytest.importorskip("onnxruntime_genai")
    _, engine = exported(tmp_path)
    rows = [PROMPT, [9, 4], [77, 12, 6, 30]]
    pad = json.loads(engine.path.with_name("genai_config.json").read_text())["model"]["pad_token_id"]
    assert pad not in {token for row in rows for token in row}
    filled = np.array([row + [pad] * (len(PROMPT) - len(row)) for row in rows], dtype=np.int32)
    model = library.Model(str(engine.path.parent))
    together = _continued_by_library(library, model, filled)
    for row, found in zip(rows, together, strict=True):
        assert found == _continued_by_library(library, model, np.array([row], dtype=np.int32))[0]


def _continued_by_library(library: Any, model: Any, rows: npt.NDArray[np.int32], most: int = 12) -> list[list[int]]:
    generator = library.Generator(model, _parameters(library, model, len(rows)))
    generator.append_tokens(rows)
    found: list[list[int]] = [[] for _ in rows]
    for _ in range(most):
        generator.generate_next_token()
        for row, token in zip(found, generator.get_next_tokens(), strict=True):
            row.append(int(token))
    return found


def _parameters(library: Any, model: Any, batch: int) -> Any:
    parameters = library.GeneratorParams(model)
    # No row ends before the others.
    parameters.set_search_options(batch_size=batch, max_length=40, min_length=40, do_sample=False)
    return parameters


def test_without_the_library_one_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy = Toy()
    decoder = toy.decoder()
    engine = written(decoder, Rounded(decoder=decoder, checkpoint=toy), tmp_path / "out")
    monkeypatch.setattr(_onnxruntime_decoding, "find_spec", lambda name: None)
    with pytest.raises(UnservedError, match="not installed") as caught:
        load_backend("onnxruntime").generate(engine)
    assert "pip install onnxruntime-genai" in str(caught.value.hint)
