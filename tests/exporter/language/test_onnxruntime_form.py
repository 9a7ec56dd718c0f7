"""What onnxruntime makes of a decoder is what the decoder's description says, and what transformers computes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgepress.backends.places import Worker, place_at
from edgepress.backends.registry import load_backend
from edgepress.errors import InputError
from edgepress.exporter.language.writers.onnxruntime import Genai
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target

from ._computed import computed
from ._families import MODELS, made, opened
from ._toy import CONTEXT, WORDS, Toy, turns
from ._written import Rounded, away, blocks, logits, written

TOKENS = np.random.default_rng(1).integers(0, WORDS, (2, 40))
NEAR = 1e-4  # float32 against float64, or in another order


def attending(**given: Any) -> dict[str, Any]:
    return {"layer": {"attention": given}}


# Each is a decoder as no other one here is; families of transformers have only some of them together.
TOYS: dict[str, tuple[Toy, dict[str, Any]]] = {
    "as many keys as queries": (Toy(), attending(kv=4)),
    "one head of keys": (Toy(), attending(kv=1)),
    "heads that are turned outside": (Toy(), attending(size=24, norms="heads")),
    "part of a head turned": (Toy(), attending(size=40, rotary=turns(40, 0.3), window=5)),
    "part of a head turned inside": (Toy(), attending(heads=2, size=80, rotary=turns(80, 0.4))),
    "pairs side by side": (Toy(), attending(rotary=turns(16, interleaved=True))),
    "pairs side by side outside": (Toy(), attending(rotary=turns(16, 0.5, interleaved=True))),
    "longer turns": (Toy(), attending(rotary=turns(16, factor=1.3))),
    "norms of all heads": (Toy(), attending(norms="whole")),
    "a window of one": (Toy(), attending(window=1)),
    "a cap and a window": (Toy(), attending(softcap=2.0, window=5)),
    "learned positions": (
        Toy(kind="layer", biased=True),
        {"places": 2, "position_offset": 2, "layer": {"attention": {"rotary": None}, "feed_forward": {"gated": False}}},
    ),
    "squares": (Toy(), {"layer": {"feed_forward": {"gated": False, "activation": "relu2"}}}),
    "parallel of one norm": (
        Toy(kind="layer", biased=True),
        {"layer": {"parallel": True, "before_feed_forward": None}},
    ),
    "norms behind only": (Toy(), {"layer": {"after": True, "before_attention": None, "before_feed_forward": None}}),
    "scales": (Toy(), {"embedding_scale": 3.0, "logit_scale": 0.25, "softcap": 5.0, "layer": {"residual": 0.3}}),
    "a norm without weight": (Toy(), {"norm": Toy().norm("n", 64, plain=True), "tied": False}),
}


@pytest.mark.parametrize("name", TOYS)
def test_every_part_of_a_decoder_computes_as_described(name: str, tmp_path: Path) -> None:
    toy, given = TOYS[name]
    decoder = toy.decoder(**given)
    weights = Rounded(decoder=decoder, checkpoint=toy)
    want = computed(decoder, weights, TOKENS)
    with load_backend("onnxruntime").decode(written(decoder, weights, tmp_path / "out"), 2) as decoding:
        assert away(logits(decoding, TOKENS, 40), want) < NEAR
        assert away(logits(decoding, TOKENS, 7, 5, *[1] * 28), want) < NEAR
        assert away(logits(decoding, TOKENS[:1], 7, 1, 20, 1, 11), want[:1]) < NEAR


@pytest.mark.parametrize("name", MODELS)
def test_a_family_computes_what_transformers_does(name: str, tmp_path: Path) -> None:
    # GroupQueryAttention takes heads of a multiple of 8.
    size = {"head_dim": 16} if "head_dim" in MODELS[name][1] else {"n_embd": 80} if name == "gpt2" else {}
    model = made(name, tmp_path, **size)
    _, decoder, checkpoint = opened(tmp_path)
    tokens = np.random.default_rng(0).integers(0, decoder.vocabulary, (2, 23))
    with torch.no_grad():
        want = model(torch.from_numpy(tokens)).logits.numpy()
    engine = written(decoder, Rounded(decoder=decoder, checkpoint=checkpoint), tmp_path / "out")
    with load_backend("onnxruntime").decode(engine, 2) as decoding:
        assert away(logits(decoding, tokens, 23), want) < NEAR
        assert away(logits(decoding, tokens[:1], 7, 1, 5, *[1] * 10), want[:1]) < NEAR


def test_a_decoder_in_another_process_computes_the_same(tmp_path: Path) -> None:
    toy = Toy()
    decoder = toy.decoder()
    engine = written(decoder, Rounded(decoder=decoder, checkpoint=toy), tmp_path / "out")
    with load_backend("onnxruntime").decode(engine, 1) as here, Worker().decode(engine, 1) as there:
        for _ in range(2):  # and again from the start
            want, found = (logits(decoding, TOKENS, 7, 1, 20) for decoding in (here, there))
            np.testing.assert_array_equal(found, want)


@pytest.mark.slow
def test_a_decoder_computes_on_emulated_arm64_as_described(tmp_path: Path, emulated: dict[str, str]) -> None:
    toy = Toy()
    decoder = toy.decoder()
    weights = Rounded(decoder=decoder, checkpoint=toy)
    engine = replace(written(decoder, weights, tmp_path / "out"), target=load_target("rpi5"))
    with place_at("qemu://arm64").decode(engine, 1) as decoding:
        assert away(logits(decoding, TOKENS, 7, 1, 20), computed(decoder, weights, TOKENS)[:, :28]) < NEAR


@pytest.mark.parametrize(
    ("bits", "block", "symmetric", "tied"),
    [(4, 16, True, True), (4, 32, False, True), (4, 128, False, False), (8, 32, True, False), (8, 64, False, True)],
)
def test_integers_compute_as_the_floats_that_they_stand_for(
    bits: int, block: int, symmetric: bool, tied: bool, tmp_path: Path
) -> None:
    toy = Toy(biased=True, width=72)  # which no block divides
    decoder = toy.decoder(tied=tied)
    weights = Rounded(decoder=decoder, checkpoint=toy, grid=blocks(bits, block, symmetric=symmetric))
    want = computed(decoder, weights, TOKENS)
    backend = load_backend("onnxruntime")
    with backend.decode(written(decoder, weights, tmp_path / "exact", accuracy=0), 2) as decoding:
        assert away(logits(decoding, TOKENS, 40), want) < NEAR
        assert away(logits(decoding, TOKENS[:1], 7, *[1] * 33), want[:1]) < NEAR
    with backend.decode(written(decoder, weights, tmp_path / "fast"), 2) as decoding:
        # Activations of 8 bits: what they lose is small beside what 4 bits of weights lose.
        assert away(logits(decoding, TOKENS, 40), want) < 0.06


def test_layers_may_have_grids_of_their_own(tmp_path: Path) -> None:
    toy = Toy()
    decoder = toy.decoder(tied=False)
    grids = {
        "layers.0.attention.query": blocks(8, 32),
        "layers.1.feed_forward.up": blocks(4, 64),
        "head": blocks(8, 16),
    }
    weights = Rounded(decoder=decoder, checkpoint=toy, grids=grids)
    engine = written(decoder, weights, tmp_path / "out", accuracy=0)
    with load_backend("onnxruntime").decode(engine, 2) as decoding:
        assert away(logits(decoding, TOKENS, 40), computed(decoder, weights, TOKENS)) < NEAR


def test_scales_are_made_in_one_product_for_each_number_of_blocks_in_a_row(tmp_path: Path) -> None:
    """Many small ones leave holes in the heap of a process that opens it."""
    toy = Toy()
    decoder = toy.decoder()
    grids = {linear.name: blocks(4, 64) for linear in decoder.linears() if linear.name.endswith("query")}
    weights = Rounded(decoder=decoder, checkpoint=toy, grid=blocks(4, 32), grids=grids)
    engine = written(decoder, weights, tmp_path / "out")
    graph = onnx.load(engine.path, load_external_data=False).graph
    steps = {tensor.name: tensor.dims for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in steps]
    widths = [steps[node.input[0]][1] for node in casts]
    assert sorted(widths) == [1, 2, 3]
    assert sum(node.op_type == "MatMulNBits" for node in graph.node) == 15


@pytest.mark.parametrize("grid", [None, blocks(4, 32), blocks(8, 32, symmetric=False)])
def test_a_tied_table_lies_on_disk_once(grid: Grid | None, tmp_path: Path) -> None:
    toy, form, target = Toy(), Genai(), load_target("server-cpu")
    tied, apart = toy.decoder(), toy.decoder(tied=False)
    sizes = [
        (written(each, Rounded(decoder=each, checkpoint=toy, grid=grid), tmp_path / name).path, each)
        for each, name in ((tied, "tied"), (apart, "apart"))
    ]
    data = [path.with_name("model.onnx.data").stat().st_size for path, _ in sizes]
    table = form.matrix_bytes(WORDS, tied.width, grid)
    assert table <= data[1] - data[0] < table + 256  # tensors begin at multiples of 64 bytes
    assert form.why_no_grid(blocks(4, 32), target) == ""


@pytest.mark.parametrize("bits", [4, 8])
def test_memory_is_that_of_the_float32_scales_which_the_runtime_makes(bits: int) -> None:
    form, grid = Genai(), blocks(bits, 32)
    assert form.memory_bytes(10, 100, grid) - form.matrix_bytes(10, 100, grid) == 3 * 10 * 4
    assert form.memory_bytes(10, 100, None) == form.matrix_bytes(10, 100, None) == 4000


def test_what_the_kernels_do_not_have_is_refused_with_the_reason() -> None:
    form, target = Genai(), load_target("server-cpu")
    assert "heads of a multiple of 8, not of 12" in form.why_not(Toy().decoder(**attending(size=12)), target)
    assert "16, 32, 64, 128, 256" in form.why_no_grid(blocks(4, 48), target)
    per_channel = Grid(bits=8, signed=True, symmetric=True, granularity="channel")
    assert "by 16, 32, 64, 128, 256" in form.why_no_grid(per_channel, target)
    assert "16 bits" in form.why_no_grid(blocks(16, 32), target)


def test_more_tokens_than_the_context_are_refused_and_never_computed(tmp_path: Path) -> None:
    for number, given in enumerate(({}, attending(size=24), TOYS["learned positions"][1])):
        toy = Toy()
        decoder = toy.decoder(**given)
        engine = written(decoder, Rounded(decoder=decoder, checkpoint=toy), tmp_path / str(number))
        tokens = np.zeros((1, CONTEXT + 1), dtype=np.int64)
        with load_backend("onnxruntime").decode(engine, 2) as decoding:
            assert logits(decoding, tokens, CONTEXT).shape == (1, CONTEXT, WORDS)
            with pytest.raises(InputError, match=r"failed to run model\.onnx"):
                decoding(tokens[:, :1])


@pytest.mark.parametrize("name", ["one head of keys", "heads that are turned outside", "learned positions"])
def test_a_shorter_row_that_is_filled_on_the_right_comes_out_as_alone(name: str, tmp_path: Path) -> None:
    toy, given = TOYS[name]
    decoder = toy.decoder(**given)
    weights = Rounded(decoder=decoder, checkpoint=toy)
    engine = written(decoder, weights, tmp_path / "out")
    want = computed(decoder, weights, TOKENS[1:, :8])[0]
    names = [spec.name for spec in engine.outputs]
    session = onnxruntime.InferenceSession(str(engine.path), providers=["CPUExecutionProvider"])
    cache = {spec.name: np.zeros((2, spec.shape[1], 0, spec.shape[3]), np.float32) for spec in engine.inputs[2:]}  # type: ignore[arg-type]
    tokens, mask = TOKENS[:, :12].copy(), np.ones((2, 12), dtype=np.int64)
    tokens[1, 7:] = mask[1, 7:] = 0
    feed = {"input_ids": tokens, "attention_mask": mask, **cache}
    # The last token of a row is before what fills it up; so are those that are asked for.
    every = session.run(["logits"], {**feed, "before_last": np.arange(12)[::-1, None].copy()})[0]
    assert away(every[1, -7:], want[:7]) < NEAR
    first = dict(zip(names, session.run(names, feed), strict=True))
    assert first["logits"].shape == (2, 1, WORDS)
    assert away(first["logits"][1, 0], want[6]) < NEAR
    cache = {name: first[name.replace("past_key_values", "present")] for name in cache}
    mask = np.concatenate([mask, np.ones((2, 1), dtype=np.int64)], axis=1)
    feed = {"input_ids": TOKENS[:, 7:8], "attention_mask": mask, **cache}
    assert away(session.run(["logits"], feed)[0][1, 0], want[7]) < NEAR


def test_a_batch_is_kept_to_and_no_tokens_are_refused(tmp_path: Path) -> None:
    toy = Toy()
    decoder = toy.decoder()
    engine = written(decoder, Rounded(decoder=decoder, checkpoint=toy), tmp_path / "out")
    with load_backend("onnxruntime").decode(engine) as decoding:
        with pytest.raises(InputError, match="neither of them 0"):
            decoding(np.zeros((1, 0), dtype=np.int64))
        decoding(TOKENS)
        with pytest.raises(InputError, match="a batch of 1 behind one of 2"):
            decoding(TOKENS[:1])


def test_the_configuration_follows_the_models_own(tmp_path: Path) -> None:
    toy = Toy()
    decoder = toy.decoder(kind="of-another-kind", eos=(3, 5), bos=2)
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tokenizer / name).write_text("{}")
    (tokenizer / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "top_k": null}')
    engine = written(decoder, Rounded(decoder=decoder, checkpoint=toy), tmp_path / "out", tokenizer=tokenizer)
    config = json.loads(engine.path.with_name("genai_config.json").read_text())
    model, search = config["model"], config["search"]
    assert (model["type"], model["eos_token_id"], model["bos_token_id"]) == ("decoder", [3, 5], 2)
    assert (search["do_sample"], search["temperature"], search["top_k"]) == (True, 0.6, 50)
    assert search["max_length"] == model["context_length"] == CONTEXT
    (tokenizer / "generation_config.json").write_text("[]")
    with pytest.raises(InputError, match="is no JSON object"):
        written(decoder, Rounded(decoder=decoder, checkpoint=toy), tmp_path / "again", tokenizer=tokenizer)
