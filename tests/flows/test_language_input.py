"""Directories, files and settings of decoders that are at fault: one message, the right code, and nothing is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ._flow import Cli
from ._language import QUICK, claim, tale, write_tokenizer

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tale(tmp_path_factory.mktemp("original") / "tale")


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tale"))


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
    "NaN in FP32": (weights(lambda t: t[GATE].view(-1)[7].fill_(float("nan"))), (GATE, "finite")),
    "cut weights": (lambda d: cut(d / "model.safetensors", 0.5), ("model.safetensors",)),
    "cut head of weights": (lambda d: cut(d / "model.safetensors", 0.001), ("model.safetensors",)),
    "inexpressible": (config(hidden_act="tanh"), ("Tanh",)),
    "no such class": (config(architectures=["NoSuchForCausalLM"]), ("NoSuchForCausalLM",)),
    "damaged tokenizer": (lambda d: (d / "tokenizer.json").write_text('{"version": "1.0", '), ("tokenizer",)),
    "binary tokenizer": (lambda d: (d / "tokenizer.json").write_bytes(bytes(range(256))), ("tokenizer",)),
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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_directory_at_fault_is_one_message(model: Path, cli: Cli, tmp_path: Path, fault: str) -> None:
    change, words = FAULTS[fault]
    change(model)
    more = ("--precision", "fp32") if fault.endswith("FP32") else ()
    cli("export", "tale", "-t", "server-cpu", *QUICK, *more).failed(1, *words)
    assert not (tmp_path / "dist").exists()
