"""The sound files that are damaged, and the command that reads each."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import changes

EXPORT = ("--no-measure", "-q", "-o", "out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file in a directory of its own, what is done to it, and the commands that then read it.

    Attributes:
        directory: copied for each trial.
        bundle: its manifest gets the hash of the damaged file, as whoever meant harm would write it.
        file: the one that is damaged, relative to it.
        commands: one of them is run, in the copy.
    """

    name: str
    directory: Path
    file: str
    changes: Sequence[changes.Change]
    commands: Sequence[Sequence[str]]
    bundle: str | None = None

    def damage(self, chance: random.Random, trial: Path) -> tuple[str, Sequence[str]]:
        """Copy the directory to `trial` with the file changed: what was done, and the command to run there."""
        shutil.copytree(self.directory, trial)
        file = trial / self.file
        change: Callable[..., tuple[str, bytes]] = chance.choice(list(self.changes))
        said, data = change(chance, file.read_bytes())
        file.write_bytes(data)
        if self.bundle is not None:
            _seal(trial / self.bundle, file)
        return said, chance.choice(list(self.commands))


def subjects(root: Path, edgepress: Callable[..., int]) -> list[Subject]:
    """All of them, made below `root`.

    Args:
        edgepress: runs a command in a directory, and returns its exit code.
    """
    plain = root / "plain"
    plain.mkdir(parents=True)
    models = _models(plain)
    float_only = [("export", f"{name}.onnx", "-t", "server-cpu", "--precision", "fp32", *EXPORT) for name in models]
    found = [
        Subject(
            name=f"{name}.onnx",
            directory=plain,
            file=f"{name}.onnx",
            changes=(changes.of_bytes, changes.of_fields, changes.of_fields),
            commands=(command,),
        )
        for name, command in zip(models, float_only, strict=True)
    ]
    int8 = ("export", "cnn.onnx", "-t", "server-cpu", "--precision", "int8", *EXPORT)
    _arrange(plain, edgepress, int8)
    words = (changes.of_words, changes.of_words, changes.of_bytes)
    fp32 = ("export", "cnn.onnx", "--precision", "fp32", *EXPORT)
    found += [
        Subject(
            name=".npz",
            directory=plain,
            file="data.npz",
            changes=(changes.of_bytes, changes.of_arrays, changes.of_arrays),
            commands=(
                (*int8, "--calibration", "data.npz"),
                ("calibrate", "cnn.onnx", "-t", "server-cpu", "--calibration", "data.npz", "-o", "new.safetensors"),
            ),
        ),
        Subject(
            name="recipe",
            directory=plain,
            file="recipe.toml",
            changes=words,
            commands=((*int8[:4], *EXPORT, "--recipe", "recipe.toml"),),
        ),
        Subject(
            name="target",
            directory=plain,
            file="mine.toml",
            changes=words,
            commands=(("targets", "./mine.toml"), (*fp32, "-t", "./mine.toml")),
        ),
        Subject(
            name="statistics",
            directory=plain,
            file="s.safetensors",
            changes=(changes.of_bytes,),
            commands=(
                (*int8, "--statistics", "s.safetensors"),
                ("calibrate", "merge", "-o", "m.safetensors", "s.safetensors", "again.safetensors"),
            ),
        ),
    ]
    reading = (
        ("verify", "cnn-server-cpu"),
        ("check", "cnn-server-cpu", "--budget", "size=1MB"),
        ("report", "cnn-server-cpu", "-o", "page.html"),
    )
    bundle = root / "bundles"
    shutil.move(plain / "out", bundle)
    json_text = (changes.of_json, changes.of_json, changes.of_bytes)
    graph = (changes.of_bytes, changes.of_fields)
    golden = (changes.of_bytes, changes.of_arrays)
    inside = {
        "manifest": ("manifest.json", json_text, reading, None),
        "report": ("report.json", json_text, reading[1:], "cnn-server-cpu"),
        "engine": ("engine/model.onnx", graph, reading[:1], "cnn-server-cpu"),
        "golden outputs": ("golden/outputs.npz", golden, reading[:1], "cnn-server-cpu"),
    }
    found += [
        Subject(
            name=name,
            directory=bundle,
            file=f"cnn-server-cpu/{file}",
            changes=how,
            commands=commands,
            bundle=sealed,
        )
        for name, (file, how, commands, sealed) in inside.items()
    ]
    return found


def _seal(bundle: Path, file: Path) -> None:
    """The manifest agrees with the damaged file."""
    data, manifest = file.read_bytes(), json.loads((bundle / "manifest.json").read_text())
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    files = manifest["files"]
    name = file.relative_to(bundle).as_posix()
    (files if name in files else manifest["measured"]["files"])[name] = entry
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def _arrange(plain: Path, edgepress: Callable[..., int], int8: Sequence[str]) -> None:
    """Data, statistics, a recipe, a target of one's own, and a bundle."""
    rng = np.random.default_rng(0)
    np.savez(plain / "data.npz", image=rng.normal(size=(16, 1, 8, 8)).astype(np.float32))
    calibrate = ("calibrate", "cnn.onnx", "-t", "server-cpu", "--calibration", "data.npz", "-o")
    for name in ("s.safetensors", "again.safetensors"):
        _run(edgepress, plain, (*calibrate, name))
    _run(edgepress, plain, (*int8, "--calibration", "data.npz"))
    shutil.copy(plain / "out/cnn-server-cpu/recipe.toml", plain / "recipe.toml")
    targets = Path(__file__).resolve().parents[2] / "profiles/device/targets"
    shutil.copy(targets / "server-cpu.toml", plain / "mine.toml")


def _run(edgepress: Callable[..., int], where: Path, words: Sequence[str]) -> None:
    if code := edgepress(words, where):
        raise RuntimeError(f"{' '.join(words)} ended with {code}; it is given sound files.")


def _models(directory: Path) -> list[str]:
    """Sound models, each of other operators."""
    made = {"cnn": _cnn(), "attention": _attention(), "recurrent": _recurrent(), "control": _control()}
    for name, model in made.items():
        onnx.save(model, directory / f"{name}.onnx")
    return list(made)


def _model(
    nodes: list[onnx.NodeProto], shape: list[int | str], result: list[int | str], **weights: np.ndarray
) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, result)
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", [image], [output], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def _cnn() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[1, 1], group=1),
        node("Relu", ["c"], ["r"], "relu"),
        node("MaxPool", ["r"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["m"], ["f"], "flat", axis=1),
        node("Gemm", ["f", "v"], ["output"], "gemm", transB=1),
    ]
    return _model(nodes, ["batch", 1, 8, 8], ["batch", 3], w=_weight(4, 1, 3, 3), b=_weight(4), v=_weight(3, 64))


def _attention() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("LayerNormalization", ["image", "g", "b"], ["n"], "norm", axis=-1, epsilon=1e-5),
        node("MatMul", ["n", "q"], ["queries"], "q"),
        node("Transpose", ["queries"], ["keys"], "turn", perm=[0, 2, 1]),
        node("MatMul", ["queries", "keys"], ["scores"], "scores"),
        node("Softmax", ["scores"], ["shares"], "softmax", axis=-1),
        node("MatMul", ["shares", "n"], ["mixed"], "mix"),
        node("Reshape", ["mixed", "sizes"], ["output"], "reshape"),
    ]
    sizes = np.asarray([0, -1], np.int64)
    return _model(nodes, ["batch", 5, 8], ["batch", 40], g=_weight(8), b=_weight(8), q=_weight(8, 8), sizes=sizes)


def _recurrent() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("GRU", ["image", "w", "r", "b"], ["all", "last"], "gru", hidden_size=4, linear_before_reset=1),
        node("Squeeze", ["last", "zero"], ["s"], "squeeze"),
        node("Gather", ["s", "rows"], ["output"], "gather", axis=1),
    ]
    rows, zero = np.asarray([0, 3], np.int64), np.asarray([0], np.int64)
    weights = {"w": _weight(1, 12, 3), "r": _weight(1, 12, 4), "b": _weight(1, 24), "rows": rows, "zero": zero}
    return _model(nodes, [6, "batch", 3], ["batch", 2], **weights)


def _control() -> onnx.ModelProto:
    node, value = helper.make_node, helper.make_tensor_value_info
    arms = [
        helper.make_graph(
            [node(kind, ["image"], [name], name)], name, [], [value(name, TensorProto.FLOAT, ["batch", 4])]
        )
        for kind, name in (("Relu", "positive"), ("Neg", "negative"))
    ]
    nodes = [
        node("ReduceSum", ["image"], ["sum"], "sum", keepdims=0),
        node("Greater", ["sum", "zero"], ["is"], "greater"),
        node("If", ["is"], ["chosen"], "if", then_branch=arms[0], else_branch=arms[1]),
        node("Cast", ["chosen"], ["wide"], "cast", to=TensorProto.FLOAT),
        node("Slice", ["wide", "start", "end", "axis"], ["part"], "slice"),
        node("Concat", ["part", "chosen"], ["output"], "concat", axis=1),
    ]
    weights = {name: np.asarray([number], np.int64) for name, number in (("start", 0), ("end", 2), ("axis", 1))}
    return _model(nodes, ["batch", 4], ["batch", 6], zero=np.asarray(0, np.float32), **weights)
