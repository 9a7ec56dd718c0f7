"""The FP32 model by layers: what layers take, other weights in one of them, and text with and without a cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgepress.exporter.language.decoder import linears_of
from edgepress.exporter.language.reference import TorchReference

from ._families import made, opened

Floats = npt.NDArray[np.float32]
TOKENS = np.random.default_rng(1).integers(3, 90, (2, 19))


@pytest.mark.parametrize("name", ["llama", "phi3", "gpt2", "gpt-neox", "gemma2"])
def test_layers_tell_what_their_matrices_take_and_run_with_others(name: str, tmp_path: Path) -> None:
    model = made(name, tmp_path)
    module, decoder, checkpoint = opened(tmp_path)
    reference = TorchReference(module, decoder, checkpoint)
    hidden = reference.layer(0, reference.embedded(TOKENS))
    seen: dict[str, Floats] = {}
    plain = reference.layer(1, hidden, observe=lambda reads, values: seen.update({reads: values.copy()}))
    linears = list(linears_of(decoder.layers[1]))
    assert set(seen) == {each.reads for each in linears}
    assert all(seen[each.reads].shape == (2, 19, each.inputs) for each in linears)
    same = {each.name: checkpoint.array(each.weight) for each in linears}
    np.testing.assert_array_equal(reference.layer(1, hidden, replaced=same), plain)
    for each in linears:
        with reference.held(1):
            # A factor of the whole would go in the norms behind some parts.
            uneven = np.linspace(0, 2, each.outputs, dtype=np.float32)[:, None]
            other = reference.layer(1, hidden, replaced={each.name: same[each.name] * uneven})
            assert np.abs(other - plain).max() > 1e-4, each.name
            np.testing.assert_array_equal(reference.layer(1, hidden), plain)
    # Of the last matrix the result is known: what it takes, times what is put in its place, comes on top.
    down = decoder.layers[1].feed_forward.down
    if decoder.layers[1].after_feed_forward is None:
        more = reference.layer(1, hidden, replaced={down.name: same[down.name] * 2}) - plain
        np.testing.assert_allclose(more, seen[down.reads] @ same[down.name].T, atol=1e-4)
    with torch.no_grad():
        want = model(torch.from_numpy(TOKENS)).logits.numpy()
    np.testing.assert_allclose(reference.logits(TOKENS), want, atol=1e-5)  # nothing stayed replaced


def test_another_table_and_another_head_count_also_in_a_tied_model(tmp_path: Path) -> None:
    made("llama", tmp_path)
    module, decoder, checkpoint = opened(tmp_path)
    reference = TorchReference(module, decoder, checkpoint)
    table = checkpoint.array(decoder.embedding)
    np.testing.assert_array_equal(reference.embedded(TOKENS, table=table * 2), reference.embedded(TOKENS) * 2)
    hidden = reference.through(TOKENS)
    before = reference.logits_of(hidden)
    with reference.held(None):
        np.testing.assert_allclose(reference.logits_of(hidden, head=table * 2), before * 2, rtol=1e-5)
        np.testing.assert_array_equal(reference.logits_of(hidden), before)


@pytest.mark.parametrize("name", ["llama", "mistral-window", "gemma3", "gpt2"])
def test_text_is_the_same_with_and_without_a_cache_and_as_transformers_writes_it(name: str, tmp_path: Path) -> None:
    model = made(name, tmp_path)
    reference = TorchReference(*opened(tmp_path))
    prompt = TOKENS[0, :5].tolist()
    want = model.generate(
        torch.tensor([prompt]), max_new_tokens=24, min_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert reference.greedy(prompt, 24) == reference.greedy(prompt, 24, cached=False) == want[0, 5:].tolist()


def test_nothing_stays_behind(tmp_path: Path) -> None:
    made("llama", tmp_path)
    module, decoder, checkpoint = opened(tmp_path)
    reference = TorchReference(module, decoder, checkpoint)
    reference.logits(TOKENS)
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    with pytest.raises(IndexError):
        reference.logits(np.full((1, 3), decoder.vocabulary))
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
