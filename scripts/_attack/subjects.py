"""The sound files that are damaged, and the commands that read each."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import changes, plants
from .sound import BUNDLE, EXPORT, FLOAT, INT8, WRITER, WRITING, Sound

WORDS = (changes.of_words, changes.of_words, changes.of_bytes)
JSON = (changes.of_json, changes.of_json, changes.of_bytes)
GRAPH = (changes.of_bytes, changes.of_fields, changes.of_fields)
ARRAYS = (changes.of_bytes, changes.of_arrays, changes.of_arrays)
BYTES = (changes.of_bytes,)
# The share of files that are no longer a file, or a very odd one.
ODD = 0.03
Command = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file in a directory of its own, what is done to it, and the commands that then read it.

    Attributes:
        directory: copied for each trial.
        files: one of them is damaged, by path relative to it.
        commands: one of them is run, in the copy.
        bundle: its manifest gets the hash of the damaged file, as whoever meant harm would write it.
        signed: the commands check a signature of all files: that a changed one is taken is wrong.
        plant: instead of a change, puts what runs code, or leads elsewhere, among the files.
        whole: the command has a process of its own from the start, imports and all.
    """

    name: str
    directory: Path
    files: Sequence[str]
    changes: Sequence[changes.Change] = BYTES
    commands: Sequence[Command]
    bundle: str = ""
    signed: bool = False
    plant: plants.Plant | None = None
    whole: bool = False

    def damage(self, chance: random.Random, work: Path, canary: Path) -> tuple[str, Command]:
        """Copy the directory to `work` with a file changed: what was done, and the command to run there.

        Args:
            canary: what planted code makes.
        """
        shutil.copytree(self.directory, work, symlinks=True)
        file = work / chance.choice(list(self.files))
        command = chance.choice(list(self.commands))
        if self.plant is not None:
            return self.plant(chance, file, canary), command
        if chance.random() < ODD:
            return plants.odd(chance, file), command
        change: Callable[..., tuple[str, bytes]] = chance.choice(list(self.changes))
        said, data = _changed(change, chance, file.read_bytes())
        file.write_bytes(data)
        if self.bundle:
            _seal(work / self.bundle, file)
        return f"{file.name}: {said}", command


def _changed(change: changes.Change, chance: random.Random, before: bytes) -> tuple[str, bytes]:
    """Until it is not as it was, as zeros written over zeros are."""
    while True:
        said, data = change(chance, before)
        if data != before:
            return said, data


def _seal(bundle: Path, file: Path) -> None:
    """The manifest agrees with the damaged file."""
    data, manifest = file.read_bytes(), json.loads((bundle / "manifest.json").read_text())
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    files = manifest["files"]
    name = file.relative_to(bundle).as_posix()
    (files if name in files else manifest["measured"]["files"])[name] = entry
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def subjects(sound: Sound, names: Sequence[str] = ()) -> list[Subject]:
    """All of them, or those of some parts."""
    return [subject for part in names or PARTS for subject in PARTS[part](sound)]


def _graphs(sound: Sound) -> Iterator[Subject]:
    directory = sound.plain()
    for name in sound.models:
        command = ("export", f"{name}.onnx", *FLOAT)
        yield Subject(
            name=f"{name}.onnx", directory=directory, files=(f"{name}.onnx",), changes=GRAPH, commands=(command,)
        )
    far = sound.external()
    commands = (("export", "far.onnx", *FLOAT),)
    yield Subject(name="external .onnx", directory=far, files=("far.onnx",), changes=GRAPH, commands=commands)
    yield Subject(name="external data", directory=far, files=("far.data",), commands=commands)
    program = (("export", "net.pt2", *FLOAT, "--trust-source"), ("export", "net.pt2", *FLOAT))
    yield Subject(name=".pt2", directory=sound.program(), files=("net.pt2",), commands=program)


def _given(sound: Sound) -> Iterator[Subject]:
    """What goes into an export beside the model."""
    plain, calibrate = sound.plain(), ("calibrate", "cnn.onnx", "-t", "server-cpu")
    archive = ((*INT8, "--calibration", "data.npz"), (*calibrate, "--calibration", "data.npz", "-o", "new.safetensors"))
    batches = ((*INT8, "--calibration", "batches"), (*calibrate, "--calibration", "batches", "-o", "new.safetensors"))
    yield Subject(name=".npz", directory=plain, files=("data.npz",), changes=ARRAYS, commands=archive)
    yield Subject(name=".npy", directory=plain, files=("batches/1.npy",), commands=batches, changes=(changes.of_head,))
    recipe = ((*INT8, "--recipe", "recipe.toml"),)
    yield Subject(name="recipe", directory=plain, files=("recipe.toml",), changes=WORDS, commands=recipe)
    for name in ("mine.toml", "ours.toml"):
        commands = (
            ("targets", "./mine.toml"),
            ("export", "cnn.onnx", "-t", "./mine.toml", "--precision", "int8", *EXPORT),
        )
        what = "target" if name == "mine.toml" else "scheme"
        yield Subject(name=what, directory=plain, files=(name,), changes=WORDS, commands=commands)
    merge = ("calibrate", "merge", "-o", "m.safetensors", "data.safetensors", "other.safetensors")
    statistics = ((*INT8, "--statistics", "data.safetensors"), merge)
    yield Subject(name="statistics", directory=plain, files=("data.safetensors",), commands=statistics)


def _bundles(sound: Sound) -> Iterator[Subject]:
    reading = (
        ("verify", BUNDLE),
        ("check", BUNDLE, "--budget", "size=1MB"),
        ("report", BUNDLE, "-o", "page.html"),
        ("check", BUNDLE, "--baseline", "old", "--no-measure"),
        ("compare", "profile.json", BUNDLE, "--seconds", "1"),
    )
    again = ("export", "cnn.onnx", *FLOAT[:-1], ".", "--if-changed")
    anew = (*reading[:4], again)
    inside = {
        "manifest": ("manifest.json", JSON, anew, ""),
        "report": ("report.json", JSON, reading[1:4], BUNDLE),
        "engine": ("engine/model.onnx", GRAPH[:2], reading[:1], BUNDLE),
        "golden outputs": ("golden/outputs.npz", ARRAYS[:2], reading[:1], BUNDLE),
        "golden inputs": ("golden/inputs.npz", ARRAYS[:2], reading[:1], BUNDLE),
        "bundle's recipe": ("recipe.toml", WORDS, anew, BUNDLE),
        "bill of materials": ("bom.cdx.json", JSON, anew, BUNDLE),
    }
    directory = sound.bundles()
    for name, (file, how, commands, sealed) in inside.items():
        files = (f"{BUNDLE}/{file}",)
        yield Subject(name=name, directory=directory, files=files, changes=how, commands=commands, bundle=sealed)
    older = (f"old/{BUNDLE}/manifest.json", f"old/{BUNDLE}/report.json")
    yield Subject(name="baseline", directory=directory, files=older, changes=JSON, commands=reading[3:4])


def _packed(sound: Sound) -> Iterator[Subject]:
    install = ("install", "new.edgepress", "--to", "device")
    yield Subject(name="package", directory=sound.installed(), files=("new.edgepress",), commands=(install,))


def _keys(sound: Sound) -> Iterator[Subject]:
    directory, verify = sound.signed(), ("verify", BUNDLE, "--key", "key.pub")
    names = ("manifest.json", "report.json", "engine/model.onnx", "golden/outputs.npz", "report.html", "recipe.toml")
    files = tuple(f"{BUNDLE}/{name}" for name in names)
    yield Subject(name="signed file", directory=directory, files=files, commands=(verify,), signed=True)
    yield Subject(
        name="signed and resealed", directory=directory, files=files[1:], commands=(verify,), bundle=BUNDLE, signed=True
    )
    signature = (f"{BUNDLE}/model.sig",)
    yield Subject(
        name="signature", directory=directory, files=signature, changes=JSON, commands=(verify, ("verify", BUNDLE))
    )
    yield Subject(name="public key", directory=directory, files=("key.pub",), commands=(verify,))
    signing = (("sign", BUNDLE, "--key", "key.pem"), ("export", "cnn.onnx", *FLOAT, "--sign", "key.pem"))
    yield Subject(name="private key", directory=directory, files=("key.pem",), commands=signing)


def _built(sound: Sound) -> Iterator[Subject]:
    bundle, directory = "cnn-rtx", sound.device()
    commands = (("build", bundle),)
    yield Subject(
        name="manifest to build",
        directory=directory,
        files=(f"{bundle}/manifest.json",),
        changes=JSON,
        commands=commands,
    )
    for name, file, how in (
        ("graph to build", "model.onnx", GRAPH),
        ("golden data to build", "golden/inputs.npz", ARRAYS),
        ("report to build", "report.json", JSON),
    ):
        files = (f"{bundle}/{file}",)
        yield Subject(name=name, directory=directory, files=files, changes=how, commands=commands, bundle=bundle)


def _records(sound: Sound) -> Iterator[Subject]:
    """What runs wrote down."""
    directory = sound.bundles()
    history = (
        ("report", BUNDLE, "--history", "history.jsonl", "-o", "page.html"),
        ("check", BUNDLE, "--budget", "size=1MB", "--history", "history.jsonl"),
        ("report", "history.jsonl", "-o", "page.md"),
    )
    yield Subject(
        name="history",
        directory=directory,
        files=("history.jsonl",),
        changes=(changes.of_line, changes.of_bytes),
        commands=history,
    )
    profile = (
        ("report", "profile.json", "-o", "page.html"),
        ("compare", "profile.json", "profile.json", "--force"),
        ("check", "profile.json", "--budget", "latency_p50=1s"),
    )
    yield Subject(name="profile", directory=directory, files=("profile.json",), changes=JSON, commands=profile)


def _measured(sound: Sound) -> Iterator[Subject]:
    """What is measured; what is made of it takes seconds, each in processes of its own."""
    how = ("--threads", "1", "--timeout", "20s")
    scenarios = [("--scenario", name, *more) for name, *more in (("cold-start",), ("offline", "--batches", "1,4"))]
    commands = tuple(("profile", BUNDLE, *scenario, *how) for scenario in scenarios)
    inside = {
        "manifest to profile": ("manifest.json", JSON, ""),
        "report to profile": ("report.json", JSON, BUNDLE),
        "engine to profile": ("engine/model.onnx", GRAPH, BUNDLE),
        "golden inputs to profile": ("golden/inputs.npz", ARRAYS, BUNDLE),
    }
    for name, (file, changed, sealed) in inside.items():
        files = (f"{BUNDLE}/{file}",)
        yield Subject(
            name=name, directory=sound.signed(), files=files, changes=changed, commands=commands, bundle=sealed
        )
    for name in ("cnn", "recurrent"):
        files = (f"{name}.onnx",)
        alone = (("profile", *files, *scenarios[0], *how),)
        yield Subject(name=".onnx to profile", directory=sound.plain(), files=files, changes=GRAPH, commands=alone)


def _searched(sound: Sound) -> Iterator[Subject]:
    directory, tune = sound.searched(), sound.tune
    yield Subject(
        name="study",
        directory=directory,
        files=("study.db",),
        changes=(changes.of_bytes, changes.of_rows),
        commands=(tune,),
    )
    report = ("report", "dist/small-server-cpu", "--tune", "dist/small-server-cpu.tune", "-o", "page.html")
    results = ("dist/small-server-cpu.tune/results.json",)
    yield Subject(name="results of a search", directory=directory, files=results, changes=JSON, commands=(report,))


def _trained(sound: Sound) -> Iterator[Subject]:
    """A run in its middle goes on, a finished one is read."""
    directory = sound.trained()
    for name, end, how in (
        ("checkpoint's texts", "json", JSON),
        ("checkpoint's weights", "safetensors", BYTES),
        ("checkpoint's optimizer", "pt", BYTES),
    ):
        found = [path.relative_to(directory).as_posix() for path in sorted(directory.glob(f"*/*/*/*.{end}"))]
        commands = (sound.train, (*sound.train[:-1], "done"))
        yield Subject(name=name, directory=directory, files=found, changes=how, commands=commands)
        if end == "pt":
            yield Subject(
                name="planted: pickle as optimizer",
                directory=directory,
                files=found,
                commands=commands[:1],
                plant=plants.pickled,
            )


def _hugging(sound: Sound) -> Iterator[Subject]:
    import transformers  # noqa: F401  (once, and not in each fork)

    directory, commands = sound.hugging(), (("export", "bert", *FLOAT),)
    yield Subject(name="config.json", directory=directory, files=("bert/config.json",), changes=JSON, commands=commands)
    yield Subject(name="model.safetensors", directory=directory, files=("bert/model.safetensors",), commands=commands)
    config = ("bert/config.json",)
    yield Subject(name="planted: auto_map", directory=directory, files=config, commands=commands, plant=plants.auto_map)
    trusted = (*commands, ("export", "bert", *FLOAT, "--trust-source"))
    yield Subject(
        name="planted: code of a model", directory=directory, files=config, commands=trusted, plant=plants.auto_map
    )
    yield Subject(
        name="planted: pickled weights",
        directory=directory,
        files=("bert/model.safetensors",),
        commands=commands,
        plant=plants.weights,
    )


def _planted(sound: Sound) -> Iterator[Subject]:
    """What runs code when it is opened carelessly, or leads out of its directory."""
    plain, bundles = sound.plain(), sound.signed()
    int8 = ((*INT8, "--calibration", "data.npz"), (*INT8, "--calibration", "batches"))
    yield Subject(
        name="planted: objects in .npz", directory=plain, files=("data.npz",), commands=int8[:1], plant=plants.objects
    )
    yield Subject(
        name="planted: objects in .npy",
        directory=plain,
        files=("batches/1.npy",),
        commands=int8[1:],
        plant=plants.objects,
    )
    untrusted = (("export", "net.pt2", *FLOAT),)
    yield Subject(
        name="planted: .pt2", directory=sound.program(), files=("net.pt2",), commands=untrusted, plant=plants.program
    )
    pickles = tuple(("export", f"cnn.{end}", *FLOAT) for end in ("pt", "pkl", "bin", "ckpt"))
    yield Subject(name="planted: pickles", directory=plain, files=("cnn.pt",), commands=pickles, plant=plants.pickles)
    golden = (f"{BUNDLE}/golden/outputs.npz", f"{BUNDLE}/golden/inputs.npz")
    opened = (("verify", BUNDLE), ("report", BUNDLE, "-o", "page.html"), ("check", BUNDLE, "--budget", "size=1MB"))
    yield Subject(
        name="planted: golden data", directory=bundles, files=golden, commands=opened, plant=plants.objects_sealed
    )
    manifest = (f"{BUNDLE}/manifest.json",)
    build = (*opened, ("build", BUNDLE))
    yield Subject(
        name="planted: paths in a manifest", directory=bundles, files=manifest, commands=build, plant=plants.paths
    )
    yield Subject(
        name="planted: links in a bundle", directory=bundles, files=manifest, commands=build, plant=plants.links
    )
    yield Subject(
        name="planted: far data",
        directory=sound.external(),
        files=("far.onnx",),
        commands=(("export", "far.onnx", *FLOAT),),
        plant=plants.far,
    )
    commands = (("export", "cnn.onnx", "-t", "./jetson.toml", "--precision", "fp32", *EXPORT),)
    yield Subject(
        name="planted: words for a shell",
        directory=plain,
        files=("jetson.toml",),
        commands=commands,
        plant=plants.shell,
    )
    whole = (*int8, ("export", "cnn.onnx", *FLOAT), ("targets", "./mine.toml"))
    yield Subject(
        name="planted: modules", directory=plain, files=("cnn.onnx",), commands=whole, plant=plants.modules, whole=True
    )
    yield Subject(
        name="planted: modules beside a bundle",
        directory=bundles,
        files=manifest,
        plant=plants.modules,
        whole=True,
        commands=(*opened, ("profile", BUNDLE, "--scenario", "cold-start")),
    )


def _decoders(sound: Sound) -> Iterator[Subject]:
    """What a model that writes text is read from."""
    import gguf  # noqa: F401
    import transformers  # noqa: F401  (once, and not in each fork)

    directory, commands = sound.decoders(), (("export", "llama", *WRITING),)
    for name, how in (
        ("config.json", JSON),
        ("generation_config.json", JSON),
        ("tokenizer.json", JSON),
        ("tokenizer_config.json", JSON),
        ("model.safetensors", (changes.of_bytes, changes.of_front)),
    ):
        yield Subject(
            name=f"decoder's {name}", directory=directory, files=(f"llama/{name}",), changes=how, commands=commands
        )
    yield Subject(
        name=".gguf",
        directory=directory,
        files=("llama.gguf",),
        changes=(changes.of_bytes, changes.of_front, changes.of_front),
        commands=(("export", "llama.gguf", *WRITING),),
    )
    texts = (("export", "llama", *WRITING, "--calibration", "texts"),)
    yield Subject(name="texts", directory=directory, files=("texts/0.txt", "texts/1.txt"), commands=texts)
    config = ("llama/config.json",)
    yield Subject(
        name="planted: auto_map of a decoder",
        directory=directory,
        files=config,
        commands=commands,
        plant=plants.auto_map,
    )
    yield Subject(
        name="planted: pickled weights of a decoder",
        directory=directory,
        files=("llama/model.safetensors",),
        commands=commands,
        plant=plants.weights,
    )


def _spoken(sound: Sound) -> Iterator[Subject]:
    """Bundles of such a model."""
    directory = sound.spoken()
    reading = (
        ("verify", WRITER),
        ("generate", WRITER, "hello", "--tokens", "4"),
        ("report", WRITER, "-o", "page.html"),
        ("check", WRITER, "--baseline", "old", "--no-measure"),
    )
    inside = {
        "decoder's manifest": ("manifest.json", JSON, reading, ""),
        "decoder's report": ("report.json", JSON, reading[2:], WRITER),
        **{
            f"decoder's {path.name} in a bundle": (
                path.relative_to(directory / WRITER).as_posix(),
                JSON if path.suffix == ".json" else ARRAYS if path.suffix == ".npz" else BYTES,
                reading[:2],
                WRITER,
            )
            for room in ("engine", "golden")
            for path in sorted((directory / WRITER / room).iterdir())
        },
    }
    for name, (file, how, commands, sealed) in inside.items():
        yield Subject(
            name=name,
            directory=directory,
            files=(f"{WRITER}/{file}",),
            changes=how,
            commands=commands,
            bundle=sealed,
        )


PARTS: Mapping[str, Callable[[Sound], Iterator[Subject]]] = {
    "graphs": _graphs,
    "given": _given,
    "bundles": _bundles,
    "keys": _keys,
    "packed": _packed,
    "built": _built,
    "records": _records,
    "searched": _searched,
    "trained": _trained,
    "hugging": _hugging,
    "planted": _planted,
    "measured": _measured,
    "decoders": _decoders,
    "spoken": _spoken,
}
