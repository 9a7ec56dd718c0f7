"""What runs code when it is opened carelessly, leads out of its directory, or is no file at all."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Puts it in the place of a file: what was done. `canary` is the directory that planted code makes.
Plant = Callable[[random.Random, Path, Path], str]


class Canary:
    """An object whose pickle makes a directory when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def odd(chance: random.Random, file: Path) -> str:
    """No file is in its place any more, or a very odd one."""
    kind = chance.choice(("directory", "fifo", "loop", "zeros", "empty", "nothing", "spaces", "elsewhere"))
    file.unlink()
    if kind == "directory":
        file.mkdir()
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind in ("loop", "zeros", "elsewhere"):
        file.symlink_to({"loop": file.name, "zeros": "/dev/zero", "elsewhere": "/etc/passwd"}[kind])
    elif kind != "nothing":
        file.write_bytes(b" " * 10000 if kind == "spaces" else b"")
    return f"{file.name}: {kind} in its place"


def pickled(chance: random.Random, file: Path, canary: Path) -> str:
    """A pickle, plain or as torch writes one."""
    if chance.random() < 0.5:
        file.write_bytes(pickle.dumps(Canary(canary), protocol=chance.choice((0, 2, 4))))
        return "a plain pickle"
    import torch

    torch.save({"state": Canary(canary)}, file)
    return "a pickle in torch's archive"


def pickles(chance: random.Random, file: Path, canary: Path) -> str:
    """Under each of the names that weights have."""
    said = pickled(chance, file, canary)
    for end in ("pkl", "bin", "ckpt"):
        shutil.copy(file, file.with_suffix(f".{end}"))
    return said


def weights(chance: random.Random, file: Path, canary: Path) -> str:
    """Weights of a model directory in a pickle instead."""
    other = file.with_name("pytorch_model.bin")
    if keep := chance.random() < 0.3:
        pickled(chance, file, canary)
    else:
        file.unlink()
    return f"{pickled(chance, other, canary)} as {other.name}{', and as safetensors' if keep else ''}"


def objects(chance: random.Random, file: Path, canary: Path) -> str:
    """Arrays of objects, which numpy keeps as pickles."""
    array = np.asarray([Canary(canary)] * 2, dtype=object)
    with file.open("wb") as out:
        if file.suffix == ".npy":
            np.save(out, array, allow_pickle=True)
        else:
            names = chance.choice((("image",), ("image", "more"), ("output",)))
            np.savez(out, allow_pickle=True, **dict.fromkeys(names, array))
    return "arrays of objects"


def objects_sealed(chance: random.Random, file: Path, canary: Path) -> str:
    """The same in a bundle, whose manifest agrees with it."""
    said = objects(chance, file, canary)
    bundle = file.parents[1]
    manifest = json.loads((bundle / "manifest.json").read_text())
    data = file.read_bytes()
    manifest["files"][file.relative_to(bundle).as_posix()] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return f"{file.name}: {said}"


def program(chance: random.Random, file: Path, canary: Path) -> str:
    """A pickle among the records of a `.pt2` archive."""
    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(sorted(records))
    records[name] = pickle.dumps(Canary(canary))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for record, data in records.items():
            archive.writestr(record, data)
    return f"a pickle as {name}"


def auto_map(chance: random.Random, file: Path, canary: Path) -> str:
    """Python code in a model directory, named by its configuration and by the names that libraries look for."""
    code = f"import os\nos.mkdir({str(canary)!r})\nclass Net: pass\nclass Config: pass\n"
    for name in ("modeling_net", "configuration_net", "setup", "conftest", "__init__", "bert"):
        (file.parent / f"{name}.py").write_text(code)
    config = json.loads(file.read_text())
    entries = {
        "auto_map": {
            "AutoConfig": "configuration_net.Config",
            **dict.fromkeys(("AutoModel", "AutoModelForSequenceClassification"), "modeling_net.Net"),
        },
        "attn_implementation": "someone/kernel",
        "_name_or_path": str(file.parent),
    }
    if chance.random() < 0.5:
        entries |= {"architectures": ["Net"], "model_type": "net"}
    kept = chance.sample(sorted(entries), chance.randrange(1, len(entries) + 1))
    file.write_text(json.dumps(config | {name: entries[name] for name in kept}))
    return f"code of its own, by {', '.join(sorted(kept))}"


def paths(chance: random.Random, file: Path, canary: Path) -> str:
    """A path of a manifest that leads elsewhere."""
    outside = canary.with_name("outside")
    path = chance.choice(
        (
            f"../../{outside.name}",
            str(outside),
            "../old/cnn-server-cpu/model.onnx",
            "/etc/passwd",
            "engine/../../key.pem",
            "..\\x",
        )
    )
    manifest = json.loads(file.read_text())
    where = chance.choice(("engine", "renamed", "added", "model", "target"))
    if where == "engine":
        manifest["engine"]["path"] = path
    elif where == "renamed":
        manifest["files"][path] = manifest["files"].pop(chance.choice(sorted(manifest["files"])))
    elif where == "added":
        manifest["files"][path] = next(iter(manifest["files"].values()))
    elif where == "model":
        manifest["model"]["name"] = path
    else:
        manifest["target"]["name"] = path
    file.write_text(json.dumps(manifest))
    return f"{where}: {path}"


def links(chance: random.Random, file: Path, canary: Path) -> str:
    """Links and odd files in a bundle: one of its own that leads elsewhere, or one more."""
    bundle = file.parent
    own = sorted(path for path in bundle.rglob("*") if path != file)
    one = chance.choice([*own, bundle / "more", bundle / "engine/more", bundle / "golden/more"])
    kind = chance.choice(("elsewhere", "same", "directory", "fifo", "file"))
    elsewhere = bundle.with_name("elsewhere")
    if one.exists():
        one.rename(elsewhere)
    else:
        elsewhere.mkdir()
    if kind == "fifo":
        os.mkfifo(one)
    elif kind == "file":
        one.write_text("#!/bin/sh\n")
    else:
        one.symlink_to({"elsewhere": "/etc", "same": elsewhere, "directory": bundle.parent}[kind])
    return f"{one.relative_to(bundle)} is {kind}"


def far(chance: random.Random, file: Path, canary: Path) -> str:
    """Weights of a graph that lie elsewhere."""
    import onnx

    where = chance.choice(
        ("../secret", "/etc/passwd", "a/../../secret", "link", "~/secret", "", ".", "far.onnx", "pipe")
    )
    (file.parents[1] / "secret").write_bytes(file.with_name("far.data").read_bytes())
    file.with_name("link").symlink_to("../secret")
    os.mkfifo(file.with_name("pipe"))
    model = onnx.load(str(file), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = where
    file.write_bytes(model.SerializeToString())
    return f"weights at {where!r}"


def shell(chance: random.Random, file: Path, canary: Path) -> str:
    """Words of a target, its toolchain or the graph that a shell would take for a command."""
    word = chance.choice((f"x\\nmkdir {canary}\\n", f"$(mkdir {canary})", f"`mkdir {canary}`", f"'; mkdir {canary}; '"))
    other = chance.choice((file, file.with_name("tools.toml")))
    lines = other.read_text().splitlines()
    at = chance.choice([number for number, line in enumerate(lines) if line.count('"') == 2])
    before, said, after = lines[at].split('"')
    lines[at] = f'{before}"{chance.choice((word, said + word, word + said))}"{after}'
    other.write_text("\n".join(lines))
    return f"{other.name}: {lines[at][:80]}"


def modules(chance: random.Random, file: Path, canary: Path) -> str:
    """Modules in the working directory under names that are imported."""
    names = (
        *("numpy", "torch", "onnx", "onnxruntime", "openvino", "json", "random", "click", "rich", "pydantic", "scipy"),
        *(
            "sitecustomize",
            "usercustomize",
            "edgepress",
            "safetensors",
            "optuna",
            "matplotlib",
            "tensorrt",
            "encodings",
        ),
    )
    where = file.parents[1] if (file.parent / "manifest.json").exists() else file.parent
    code = f"import os\nos.makedirs({str(canary)!r}, exist_ok=True)\n"
    for name in names:
        (where / f"{name}.py").write_text(code)
    return f"{len(names)} modules"
