"""Directories of sound files, each made the first time that it is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from . import decoders, models, sources
from .moments import kill_before_renaming_to

EXPORT = ("--no-measure", "-q", "-o", "out")
FLOAT = ("-t", "server-cpu", "--precision", "fp32", *EXPORT)
INT8 = ("export", "cnn.onnx", "-t", "server-cpu", "--precision", "int8", *EXPORT)
WRITING = ("-t", "server-cpu", "--precision", "int8", "--rounding", "nearest", *EXPORT)
BUNDLE = "cnn-server-cpu"
WRITER = "llama-server-cpu"
DEVICE = Path(__file__).resolve().parents[2] / "profiles/device"
Run = Callable[[Sequence[str], Path, Callable[[], None] | None], int]


class Sound:
    """What the attacks begin with, below one directory.

    Args:
        edgepress: runs a command in a directory, and returns its exit code.
    """

    models = ("cnn", "attention", "recurrent", "control")
    tune = (
        *("tune", "small.py", "-t", "server-cpu", "--threads", "1", "--recipe", "fixed.toml", "--trials", "2"),
        *("--max-size", "1MB", "--storage", "study.db", "--force", "-q"),
    )
    train = (
        *("export", "classes.py", *FLOAT, "--force", "--distill", "--epochs", "2", "--learning-rate", "0.02"),
        *("--checkpoint", "ck"),
    )

    def __init__(self, root: Path, edgepress: Run) -> None:
        self.root, self.run = root, edgepress
        for name in (
            "plain",
            "external",
            "program",
            "signed",
            "bundles",
            "device",
            "installed",
            "searched",
            "trained",
            "hugging",
            "replaced",
            "taught",
            "searching",
            "decoders",
            "spoken",
            "rewritten",
        ):
            setattr(self, name, cache(getattr(self, name)))

    def plain(self) -> Path:
        """Models, data, statistics, a recipe, and a target of one's own with its scheme and toolchain."""
        at = self._new("plain")
        models.write_models(at)
        rng = np.random.default_rng(0)
        (at / "batches").mkdir()
        for name in ("data", "other"):
            np.savez(at / f"{name}.npz", image=rng.normal(size=(16, 1, 8, 8)).astype(np.float32))
            calibrate = ("calibrate", "cnn.onnx", "-t", "server-cpu", "--calibration", f"{name}.npz", "-o")
            self._do(at, *calibrate, f"{name}.safetensors")
        for number in range(3):
            np.save(at / f"batches/{number}.npy", rng.normal(size=(4, 1, 8, 8)).astype(np.float32))
        self._do(at, *INT8, "--calibration", "data.npz")
        shutil.copy(at / f"out/{BUNDLE}/recipe.toml", at / "recipe.toml")
        shutil.rmtree(at / "out")
        target = (DEVICE / "targets/server-cpu.toml").read_text()
        (at / "mine.toml").write_text(target.replace('"onnxruntime-x86"', '"ours.toml"'))
        shutil.copy(DEVICE / "schemes/onnxruntime-x86.toml", at / "ours.toml")
        jetson = (DEVICE / "targets/jetson-orin-nano-8gb.toml").read_text()
        (at / "jetson.toml").write_text(jetson.replace('"jetpack-6.2"', '"tools.toml"'))
        shutil.copy(DEVICE / "toolchains/jetpack-6.2.toml", at / "tools.toml")
        return at

    def external(self) -> Path:
        """A model whose weights lie in a file beside it."""
        import onnx

        at = self._new("external")
        how = {"save_as_external_data": True, "location": "far.data", "size_threshold": 0}
        onnx.save(models.cnn(), at / "far.onnx", **how)
        return at

    def program(self) -> Path:
        """A `.pt2` program."""
        import torch
        from torch import nn

        at = self._new("program")
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
        torch.export.save(torch.export.export(net, (torch.ones(2, 1, 8, 8),)), at / "net.pt2")
        return at

    def signed(self) -> Path:
        """A signed bundle, an older one, keys, and a history."""
        at = self._new("signed")
        models.write_models(at)
        private, public = sources.keys()
        (at / "key.pem").write_bytes(private)
        (at / "key.pub").write_bytes(public)
        self._do(at, "export", "cnn.onnx", *FLOAT[:-1], "old")
        self._do(at, "export", "cnn.onnx", *FLOAT[:-1], ".", "--sign", "key.pem")
        for _ in range(3):
            self._do(at, "check", BUNDLE, "--budget", "size=1MB", "--history", "history.jsonl")
        return at

    def bundles(self) -> Path:
        """The same with a profile, which takes a while."""
        at = Path(shutil.copytree(self.signed(), self.root / "bundles"))
        self._do(at, "profile", BUNDLE, "--scenario", "single-stream", "-o", "profile.json")
        return at

    def device(self) -> Path:
        """A bundle that any machine can build again, which nothing is measured for."""
        at = self._new("device")
        models.write_models(at)
        self._do(at, "export", "cnn.onnx", "-t", "rtx", "--precision", "fp32", "--no-measure", "-q", "-o", ".")
        return at

    def installed(self) -> Path:
        """A device with one version of a model, and the package of another."""
        at = self._new("installed")
        for name, bundle in (("old", f"old/{BUNDLE}"), ("new", BUNDLE)):
            self._do(at, "pack", str(self.signed() / bundle), "-o", f"{name}.edgepress", "-q")
        self._do(at, "install", "old.edgepress", "--to", "device", "-q")
        return at

    def searched(self) -> Path:
        """A model with a metric, and a study of it that came to its end."""
        at = self._new("searched")
        (at / "small.py").write_text(sources.SEARCHED)
        (at / "fixed.toml").write_text("measure = false\n")
        self._do(at, *self.tune)
        return at

    def trained(self) -> Path:
        """A student with a checkpoint in the middle, and one of a run that came to its end."""
        at = self._new("trained")
        (at / "classes.py").write_text(sources.TAUGHT)
        self._do(at, *self.train[:-1], "done")
        with suppress(RuntimeError):
            self._do(at, *self.train, before=lambda: kill_before_renaming_to("finished"))
        assert list(at.glob("ck/*/state-*")), "the run came to its end"
        return at

    def replaced(self) -> Path:
        """Models, and a bundle of another model under the name of the first's."""
        at = self._new("replaced")
        models.write_models(at)
        (at / "cnn.onnx").rename(at / "kept")
        shutil.copy(at / "attention.onnx", at / "cnn.onnx")
        self._do(at, "export", "cnn.onnx", *FLOAT)
        (at / "kept").rename(at / "cnn.onnx")
        return at

    def searching(self) -> Path:
        """A model to search a recipe for."""
        at = self._new("searching")
        (at / "small.py").write_text(sources.SEARCHED)
        (at / "fixed.toml").write_text("measure = false\n")
        return at

    def taught(self) -> Path:
        """A student to train."""
        at = self._new("taught")
        (at / "classes.py").write_text(sources.TAUGHT)
        return at

    def hugging(self) -> Path:
        """A model directory as transformers writes it."""
        from transformers import BertConfig, BertModel

        at = self._new("hugging")
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        BertModel(BertConfig(vocab_size=16, max_position_embeddings=512, **sizes)).save_pretrained(at / "bert")
        return at

    def decoders(self) -> Path:
        """A model that writes text, as a directory and as one file, and texts."""
        at = self._new("decoders")
        decoders.write_decoder(at)
        return at

    def spoken(self) -> Path:
        """A bundle of it, and an older one."""
        at = Path(shutil.copytree(self.decoders(), self.root / "spoken"))
        self._do(at, "export", "llama", *WRITING[:-1], "old")
        self._do(at, "export", "llama", *WRITING[:-1], ".")
        return at

    def rewritten(self) -> Path:
        """The model, and a bundle of other weights under its name."""
        at = Path(shutil.copytree(self.decoders(), self.root / "rewritten"))
        (at / "llama").rename(at / "kept")
        shutil.copytree(at / "kept", at / "llama")
        decoders.other_weights(at / "llama")
        self._do(at, "export", "llama", *WRITING)
        shutil.rmtree(at / "llama")
        (at / "kept").rename(at / "llama")
        return at

    def _new(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True)
        return path

    def _do(self, where: Path, *words: str, before: Callable[[], None] | None = None) -> None:
        if code := self.run(words, where, before):
            said = (where / "err").read_text() if (where / "err").exists() else ""
            raise RuntimeError(f"{' '.join(words)} ended with {code}; it is given sound files. {said}")
        for left in ("err", "out.txt", "tmp"):
            if (where / left).is_dir():
                shutil.rmtree(where / left)
            else:
                (where / left).unlink(missing_ok=True)
