"""A directory's tensors: whole, of the architecture, and never more than one of them in memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgepress.errors import InputError
from edgepress.exporter.language.checkpoint import INDEX, SINGLE, Safetensors
from edgepress.exporter.language.decoder import Tensor
from edgepress.exporter.language.store import Fitted, part_of, row_numbers

from ._families import made, opened

EMBEDDING, QUERY = "model.embed_tokens.weight", "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made("llama", tmp_path / "model")
    return tmp_path / "model"


def changed(directory: Path, **tensors: torch.Tensor | None) -> None:
    """Tensors of the file added, replaced, or taken out."""
    held = {**load_file(directory / SINGLE), **{name: each for name, each in tensors.items() if each is not None}}
    save_file({name: each for name, each in held.items() if tensors.get(name, each) is not None}, directory / SINGLE)


def refusal(directory: Path) -> str:
    with pytest.raises(InputError) as caught:
        opened(directory)
    return str(caught.value)


@pytest.mark.parametrize("type", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_is_read_as_it_is(type: torch.dtype, tmp_path: Path) -> None:
    values = (torch.randn(37, 5, generator=torch.Generator().manual_seed(0)) * 1e3).to(type)
    odd = torch.tensor([0.0, -0.0, float("inf"), float("nan"), 6e-8]).to(type)
    save_file({"a": values, "b": odd, "scalar": torch.tensor(2.5).to(type)}, tmp_path / SINGLE)
    store = Safetensors(tmp_path)
    np.testing.assert_array_equal(store.read("a"), values.float().numpy())
    np.testing.assert_array_equal(store.read("a", (3, 20)), values[3:20].float().numpy())
    np.testing.assert_array_equal(store.read("b"), odd.float().numpy())
    assert store.read("scalar") == 2.5
    assert store.read("a").flags.writeable


def test_the_single_file_is_read_where_there_are_parts_too_as_transformers_does(directory: Path) -> None:
    shutil.copy(directory / SINGLE, directory / "part.safetensors")
    save_file({name: -each for name, each in load_file(directory / SINGLE).items()}, directory / "part.safetensors")
    names = dict.fromkeys(load_file(directory / SINGLE), "part.safetensors")
    (directory / INDEX).write_text(json.dumps({"weight_map": names}))
    np.testing.assert_array_equal(Safetensors(directory).read(EMBEDDING), load_file(directory / SINGLE)[EMBEDDING])


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for number in (1, 2):
        save_file(
            {"a": torch.full((2,), float(number)), f"b{number}": torch.ones(1)}, tmp_path / f"{number}.safetensors"
        )
    names = {"a": "1.safetensors", "b1": "1.safetensors", "b2": "2.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": names}))
    with pytest.raises(InputError, match=r"2\.safetensors.*has a, which 1\.safetensors has as well"):
        Safetensors(tmp_path)


def test_parts_of_a_tensor_are_those_that_are_named(tmp_path: Path) -> None:
    values = torch.arange(24.0).reshape(12, 2)
    save_file({"a": values, "b": values.T.contiguous()}, tmp_path / SINGLE)
    store = Safetensors(tmp_path)
    names = {name: name for name in ("a", "b")}
    checkpoint = Fitted(store=store, names=names, shapes=store.shapes)
    cases = {
        Tensor(name="a"): values,
        Tensor(name="a", plus=1.0): values + 1,
        Tensor(name="a", rows=(2, 5)): values[2:5],
        Tensor(name="b", transposed=True): values,
        Tensor(name="b", rows=(2, 5), transposed=True, plus=2.0): values[2:5] + 2,
        Tensor(name="a", rows=(1, 2), every=3): values[[1, 4, 7, 10]],
        Tensor(name="a", rows=(2, 4), every=4): values[[2, 3, 6, 7, 10, 11]],
    }
    for tensor, want in cases.items():
        got = checkpoint.array(tensor)
        np.testing.assert_array_equal(got, want.numpy())
        assert got.flags.c_contiguous and got.flags.writeable and got.dtype == np.float32
    with pytest.raises(InputError, match="no tensor c"):
        checkpoint.array(Tensor(name="c"))
    assert row_numbers(12, Tensor(name="a")).tolist() == list(range(12))
    assert part_of(values.numpy(), Tensor(name="a", rows=(0, 1))).shape == (1, 2)


def test_several_files_are_one_checkpoint(tmp_path: Path) -> None:
    model = made("llama", tmp_path / "one")
    model.save_pretrained(tmp_path / "several", max_shard_size="40kB")
    one, several = opened(tmp_path / "one")[2], opened(tmp_path / "several")[2]
    assert len(list((tmp_path / "several").glob("*.safetensors"))) > 2
    for name in one.names:
        np.testing.assert_array_equal(one.array(Tensor(name=name)), several.array(Tensor(name=name)))
    shard = sorted((tmp_path / "several").glob("*.safetensors"))[1]
    shard.unlink()
    assert shard.name in refusal(tmp_path / "several")


def test_an_index_names_files_beside_it_alone(directory: Path, tmp_path: Path) -> None:
    (directory / SINGLE).rename(tmp_path / "elsewhere.safetensors")
    for named in ("../elsewhere.safetensors", str(tmp_path / "elsewhere.safetensors"), ""):
        (directory / INDEX).write_text(json.dumps({"weight_map": {EMBEDDING: named}}))
        assert "no file beside it" in refusal(directory)
    for other in ("[]", "{}", '{"weight_map": {"a": 1}}'):
        (directory / INDEX).write_text(other)
        assert "weight_map" in refusal(directory)


def test_missing_tensors_and_other_shapes_are_named(directory: Path) -> None:
    whole = (directory / SINGLE).read_bytes()
    changed(directory, **{QUERY: None, "model.norm.weight": None})
    assert QUERY in refusal(directory) and "model.norm.weight" in refusal(directory)
    (directory / SINGLE).write_bytes(whole)
    changed(directory, **{QUERY: torch.zeros(3, 60)})
    assert f"{QUERY} is (3, 60), and expected is (84, 60)" in refusal(directory)


def test_extra_tensors_are_refused_where_they_would_count(directory: Path) -> None:
    whole = (directory / SINGLE).read_bytes()
    for counts in (
        "model.layers.3.self_attn.q_proj.weight",
        "model.layers.1.self_attn.q_proj.bias",
        "model.layers.0.self_attn.q_norm.weight",
        "model.norm.bias",
    ):
        changed(directory, **{counts: torch.zeros(60)})
        assert counts in refusal(directory)
        (directory / SINGLE).write_bytes(whole)
    changed(
        directory,
        **{"score.weight": torch.zeros(2, 60), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(7)},
    )
    assert opened(directory)[2].unused == ("score.weight",)


def test_a_tied_head_may_be_there_twice_where_both_are_the_same(directory: Path) -> None:
    whole = (directory / SINGLE).read_bytes()
    table = load_file(directory / SINGLE)[EMBEDDING]
    changed(directory, **{"lm_head.weight": table.clone()})
    assert opened(directory)[2].unused == ()
    changed(directory, **{"lm_head.weight": table + 1e-3})
    assert "different values" in refusal(directory)
    (directory / SINGLE).write_bytes(whole)
    changed(directory, **{"lm_head.weight": table.clone(), EMBEDDING: None})
    np.testing.assert_array_equal(opened(directory)[2].array(Tensor(name=EMBEDDING)), table.numpy())


def test_a_file_of_the_model_without_its_head_has_other_names(tmp_path: Path) -> None:
    """As those of the first GPT-2, with buffers among the weights."""
    model = made("gpt2", tmp_path)
    bare = {name: each.clone() for name, each in model.transformer.state_dict().items()}
    save_file({**bare, "h.0.attn.bias": torch.ones(1, 1, 64, 64)}, tmp_path / SINGLE)
    _, decoder, checkpoint = opened(tmp_path)
    assert checkpoint.unused == ()
    np.testing.assert_array_equal(checkpoint.array(decoder.embedding), bare["wte.weight"].numpy())


def test_a_damaged_file_is_one_message(directory: Path) -> None:
    whole = (directory / SINGLE).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])

    def with_header(**entry: object) -> bytes:
        text = json.dumps({**header, QUERY: {**header[QUERY], **entry}}).encode()
        return len(text).to_bytes(8, "little") + text + whole[8 + length :]

    first, last = header[QUERY]["data_offsets"]
    for data in (
        b"",
        whole[:7],
        whole[:100],
        whole[:-1],
        whole + b"\0",
        (1 << 60).to_bytes(8, "little") + whole[8:],
        whole[:8] + b"x" + whole[9:],
        with_header(data_offsets=[first, last + 4]),
        with_header(data_offsets=[last, first]),
        with_header(data_offsets=[first + 4, last + 4]),
        with_header(shape=[-1, 60]),
        with_header(shape=[1 << 62, 1 << 62]),
        with_header(shape="abc"),
        with_header(dtype="F64"),
        with_header(dtype=None),
    ):
        (directory / SINGLE).write_bytes(data)
        assert SINGLE in refusal(directory)


def test_weights_that_were_quantized_are_not_taken_for_floats(directory: Path) -> None:
    changed(directory, **{QUERY: torch.zeros(84, 60, dtype=torch.int8)})
    _, decoder, checkpoint = opened(directory)
    with pytest.raises(InputError, match=f"{QUERY} as I8"):
        checkpoint.array(decoder.layers[1].attention.query.weight)


def test_the_digest_is_of_what_the_files_hold(directory: Path, tmp_path: Path) -> None:
    before = Safetensors(directory).digest()
    shutil.copytree(directory, tmp_path / "copy")
    assert Safetensors(tmp_path / "copy").digest() == before
    changed(directory, **{QUERY: torch.zeros(84, 60)})
    assert Safetensors(directory).digest() != before


MEASURED = """
import sys
from pathlib import Path
from edgepress.exporter.language.checkpoint import Safetensors
from edgepress.profiles.machine.memory import resident
store = Safetensors(Path(sys.argv[1]))
store.read("0")
before = resident()[1]
total = sum(float(store.read(name)[0, 0]) for name in store.shapes)
store.digest()
print(resident()[1] - before, total)
"""


@pytest.mark.parametrize("type", [torch.float32, torch.bfloat16])
def test_a_pass_over_a_checkpoint_holds_one_tensor(type: torch.dtype, tmp_path: Path) -> None:
    """Of 32 tensors of 8 MB in float32."""
    save_file(
        {str(index): torch.full((1024, 2048), float(index), dtype=type) for index in range(32)}, tmp_path / SINGLE
    )
    code = [sys.executable, "-c", MEASURED, str(tmp_path)]
    grown, total = subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()
    assert float(total) == sum(range(32))
    assert int(grown) < 48 << 20
