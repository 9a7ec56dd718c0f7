"""Directories, files and settings of decoders that are at fault: one message, the right code, and nothing is left."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import edgepress
from edgepress.errors import InputError

from ._flow import Cli
from ._language import CONTEXT, QUICK, claim, tale, write_tokenizer

Change = Callable[[Path], object]


@pytest.fixture
def model(tales: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tales / "tale", tmp_path / "tale"))


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """A change of the tensors."""

    def changed(directory: Path) -> None:
        path = directory / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, {"format": "pt"})

    return changed


def config(**changes: object) -> Change:
    return lambda directory: claim(directory / "config.json", **changes)


def pickled(directory: Path) -> None:
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()


NORM = "model.layers.0.input_layernorm.weight"
GATE = "model.layers.1.mlp.gate_proj.weight"
FAULTS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "missing tensor": (weights(lambda t: t.pop(NORM)), (f"lacks {NORM}",)),
    "extra tensor": (weights(lambda t: t.update({NORM.replace("weight", "bias"): torch.ones(64)})), ("bias",)),
    "other shape": (weights(lambda t: t.update({GATE: torch.ones(95, 64)})), (GATE, "(95, 64)")),
    "NaN": (weights(lambda t: t[GATE].view(-1)[7].fill_(float("nan"))), (GATE, "finite")),
    "infinite norm": (weights(lambda t: t[NORM][3].fill_(float("inf"))), (NORM, "finite")),
    "huge table": (weights(lambda t: t["model.embed_tokens.weight"].mul_(1e6)), ("impossible", "nats a token")),
    "NaN in FP32": (weights(lambda t: t[GATE].view(-1)[7].fill_(float("nan"))), (GATE, "finite")),
    "cut weights": (lambda d: cut(d / "model.safetensors", 0.5), ("model.safetensors",)),
    "cut head of weights": (lambda d: cut(d / "model.safetensors", 0.001), ("model.safetensors",)),
    "inexpressible": (config(hidden_act="tanh"), ("Tanh",)),
    "no such class": (config(architectures=["NoSuchForCausalLM"]), ("NoSuchForCausalLM",)),
    "damaged tokenizer": (lambda d: (d / "tokenizer.json").write_text('{"version": "1.0", '), ("tokenizer",)),
    "binary tokenizer": (lambda d: (d / "tokenizer.json").write_bytes(bytes(range(256))), ("tokenizer",)),
    "no settings of the tokenizer": (
        lambda d: (d / "tokenizer_config.json").unlink(),
        ("tokenizer_config.json", "save_pretrained"),
    ),
    "larger tokenizer": (lambda d: write_tokenizer(d, 600), ("the model has 384",)),
    "damaged settings": (lambda d: (d / "generation_config.json").write_text("{"), ("generation_config.json",)),
    "odd settings": (lambda d: (d / "generation_config.json").write_text("[1]"), ("generation_config.json",)),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), ("no weights",)),
    "pickle": (pickled, ("--trust-source",)),
    "no context": (config(max_position_embeddings=0), ("a context of 0",)),
    "no layers": (config(num_hidden_layers=0), ("0 layers",)),
    "a thousand million layers": (config(num_hidden_layers=10**9), ("1,000,000,000 layers",)),
    "no list of classes": (config(architectures=3), ("architectures",)),
    "heads that do not share": (config(num_key_value_heads=3), ()),
}


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


# Those that are seen when the weights are read; the others take seconds each.
LATE = ("NaN", "infinite norm", "huge table", "NaN in FP32", "binary tokenizer", "larger tokenizer")


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.slow) if fault in LATE else fault for fault in FAULTS]
)
def test_a_directory_at_fault_is_one_message(model: Path, cli: Cli, tmp_path: Path, fault: str) -> None:
    change, words = FAULTS[fault]
    change(model)
    more = ("--precision", "fp32") if fault.endswith("FP32") else ()
    cli("export", "tale", "-t", "server-cpu", *QUICK, *more).failed(1, *words)
    assert not (tmp_path / "dist").exists()


@pytest.fixture
def bundle(tale_bundles: Path) -> Path:
    return tale_bundles / "tale-server-cpu"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--precision", "fp16"), "A decoder has its weights in int4, int8, fp32"),
        (("--prune", "0.5"), "`prune`"),
        (("--lift", "smooth"), "`lifts`"),
        (("--min-sqnr", "20"), "`minimum_sqnr_db`"),
        (("--distill",), "`distill`"),
        (("--axis", "batch=1:2:4"), "`axes`"),
        (("--statistics", "s.safetensors"), "`statistics`"),
        (("--exclude", "MatMul"), "`exclude`"),
        (("--keep", "x"), "`keep`"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_settings_that_say_nothing_of_a_decoder_are_refused(
    model: Path, cli: Cli, tmp_path: Path, words: tuple[str, ...], named: str
) -> None:
    cli("export", "tale", "-t", "server-cpu", "--no-measure", *words).failed(1, named)
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "holds no text"),
        (b" \n\n", "holds no text"),
        (bytes(range(256)), "not UTF-8"),
        (b"Too short.", "tokens; a quarter of them is kept for judging"),
        (None, "holds no text"),
    ],
    ids=["empty", "blank", "binary", "short", "directory"],
)
def test_a_calibration_text_at_fault_is_one_message(
    model: Path, cli: Cli, tmp_path: Path, content: bytes | None, named: str
) -> None:
    if content is None:
        (tmp_path / "text").mkdir()
    else:
        (tmp_path / "text").write_bytes(content)
    ran = cli("export", "tale", "-t", "server-cpu", "--precision", "int4", "--no-measure", "--calibration", "text")
    ran.failed(1, named)
    assert not (tmp_path / "dist").exists()


def test_a_calibration_text_that_is_not_there(model: Path, cli: Cli) -> None:
    cli("export", "tale", "-t", "server-cpu", "--precision", "int4", "--calibration", "none.txt").failed(1, "none.txt")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("",), "The prompt is empty"),
        (("  ",), "The prompt is empty"),
        (("word " * 400,), f"reads at most {CONTEXT - 1}"),
    ],
    ids=["empty", "blank", "long"],
)
def test_a_prompt_at_fault_is_one_message(bundle: Path, cli: Cli, words: tuple[str, ...], named: str) -> None:
    cli("generate", bundle, *words).failed(1, named)


def test_a_text_that_fills_the_context_ends_there(bundle: Path, cli: Cli) -> None:
    ran = cli("generate", bundle, "Go on", "--tokens", "5000", "--json")
    assert ran.code == 0, ran.err
    assert '"ended": "context"' in ran.out or '"ended": "end of text"' in ran.out


def test_a_token_that_the_model_does_not_have_is_named(bundle: Path, cli: Cli, tmp_path: Path) -> None:
    """A tokenizer may have words that no text of an export had."""
    from .test_language import renew

    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    path = copy / "engine" / "tokenizer.json"
    data = json.loads(path.read_text())
    data["added_tokens"].append({**data["added_tokens"][0], "id": 9000, "content": "<odd>"})
    path.write_text(json.dumps(data))
    renew(copy)
    cli("generate", copy, "An <odd> word", "--raw").failed(1, "9000", "384")


def test_a_tokenizer_that_the_library_takes_for_another_kind_is_refused(
    tale_bundles: Path, cli: Cli, tmp_path: Path
) -> None:
    """As `PreTrainedTokenizerFast` makes one of a GGUF file: bytes, and a decoder that looks like SentencePiece's."""
    from .test_language import renew

    copy = Path(shutil.copytree(tale_bundles / "tale-server-cpu", tmp_path / "bundle"))
    path = copy / "engine" / "tokenizer.json"
    data = json.loads(path.read_text())
    space = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    data["decoder"] = {
        "type": "Sequence",
        "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, space, data["decoder"]],
    }
    data["model"]["byte_fallback"] = True
    path.write_text(json.dumps(data))
    renew(copy)
    cli("generate", copy, "the end of it", "--raw").failed(1, "does not know", "otherwise than transformers")


@pytest.mark.parametrize("target", ["server-cpu", "cpu"])
def test_a_template_that_fails_names_the_way_without_it(
    tale_bundles: Path, cli: Cli, tmp_path: Path, target: str
) -> None:
    from .test_language import renew

    copy = Path(shutil.copytree(tale_bundles / f"tale-{target}", tmp_path / "bundle"))
    template, name = "{{ raise_exception('no such role') }}", r'chat_template value="[^"]*"'
    if target == "cpu":
        model = copy / "engine" / "openvino_tokenizer.xml"
        model.write_text(re.sub(name, f'chat_template value="{template}"', model.read_text()))
    (copy / "engine" / "chat_template.jinja").write_text(template)
    renew(copy)
    for words, said in (((), "Give --raw"), (("--system", "Be short"), "Leave out --system")):
        ran = cli("generate", copy, "hello", "--tokens", "4", *words)
        # openvino-genai writes a line of its own before.
        assert ran.code == 1 and "Traceback" not in ran.err, ran.err
        assert "failed to fill in its chat template" in ran.err and said in ran.err and "--raw" in ran.err
    assert cli("generate", copy, "hello", "--tokens", "4", "--raw").code == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"vocab_size": -1}, "failed to write: vocab_size"), ({"eos_token_id": [[1]]}, "is not onnxruntime-genai's")],
    ids=["vocabulary", "ends"],
)
def test_settings_that_the_library_does_not_take_are_one_message(
    bundle: Path, cli: Cli, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    from .test_language import renew

    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    settings = copy / "engine/genai_config.json"
    whole = json.loads(settings.read_text())
    settings.write_text(json.dumps(whole | {"model": whole["model"] | changes}))
    renew(copy)
    cli("generate", copy, "hello", "--tokens", "4").failed(1, named)


def test_a_disk_too_small_is_found_before_anything_is_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(InputError, match=r"has 1\.05 MB free, .* writes up to .* there\."):
        edgepress.export(model, target="server-cpu", precision="int8", measure=False, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_device_too_small_is_refused(model: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "chip.toml").write_text(
        'name = "chip"\ntitle = "A chip"\narch = "any"\nbackend = "onnxruntime"\nprecisions = ["int8", "fp32"]\n'
        'scheme = "onnxruntime-x86"\ntoolchain = "onnxruntime-1.31"\n'
        '[figures.memory]\nvalue = 64\nunit = "MB"\nmark = "unverified"\nsource = "made up"\n'
    )
    ran = cli("export", "tale", "-t", "chip.toml", *QUICK)
    ran.failed(1, "does not fit into chip", "full context", "67.11 MB that chip has")
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("kind", ["t5", "whisper"])
def test_what_has_an_encoder_and_a_decoder_is_refused(cli: Cli, tmp_path: Path, kind: str) -> None:
    small = {"vocab_size": 60, "d_model": 16, "num_heads": 2, "num_layers": 1}
    if kind == "t5":
        config = transformers.T5Config(**small, d_kv=8, d_ff=32, decoder_start_token_id=0)
        module = transformers.T5ForConditionalGeneration(config)
    else:
        sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
        tokens = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 4}
        config = transformers.WhisperConfig(vocab_size=60, d_model=16, **sizes, **tokens, suppress_tokens=None)
        module = transformers.WhisperForConditionalGeneration(config)
    module.save_pretrained(tmp_path / kind)
    cli("export", kind, "-t", "server-cpu", *QUICK).failed(1, "an encoder and a decoder")


@pytest.mark.parametrize(
    "shape",
    [
        {"vocab_size": 391, "hidden_size": 72, "intermediate_size": 100, "head_dim": 24},
        pytest.param({"num_hidden_layers": 1}, marks=pytest.mark.slow),
        {"hidden_size": 72, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 16},
        pytest.param({"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 80}, marks=pytest.mark.slow),
        pytest.param({"tie_word_embeddings": False}, marks=pytest.mark.slow),
        {"max_position_embeddings": 8},
    ],
    ids=["no block divides", "one layer", "3 kv heads", "heads of 80", "two tables", "context of 8"],
)
def test_odd_shapes_are_exported_and_verify(cli: Cli, tmp_path: Path, shape: dict[str, int]) -> None:
    tale(tmp_path / "odd", tokenizer=False, **shape)
    words = ("--precision", "int4", "--block", "32", "--rounding", "nearest", "--no-measure", "-q")
    ran = cli("export", "odd", "-t", "server-cpu,cpu", *words)
    assert ran.code == 0, ran.err
    for target in ("server-cpu", "cpu"):
        assert cli("verify", f"dist/odd-{target}").code == 0


def test_pickled_weights_are_not_read_even_where_the_source_is_trusted(model: Path, cli: Cli, tmp_path: Path) -> None:
    pickled(model)
    cli("export", "tale", "-t", "server-cpu", *QUICK, "--trust-source").failed(1, "pytorch_model.bin", "safetensors")
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"", "m.gguf"), (b"GGUF", "m.gguf"), (b"GGUF\x03\0\0\0" + b"\xff" * 64, "m.gguf"), (b"\0" * 4096, "m.gguf")],
    ids=["empty", "magic alone", "senseless", "zeros"],
)
def test_a_gguf_file_that_is_none_is_one_message(cli: Cli, tmp_path: Path, content: bytes, named: str) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "m.gguf").write_bytes(content)
    cli("export", "m.gguf", "-t", "server-cpu", *QUICK).failed(1, named)
