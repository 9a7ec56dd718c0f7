"""The sound files that are damaged, and the commands that read each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from . import changes, plants
from .decoder_subjects import of_decoders, of_their_bundles
from .sound import BUNDLE, EXPORT, FLOAT, INT8, Sound
from .subject import ARRAYS, BYTES, GRAPH, JSON, WORDS, Subject

# Commands that read calibration data, and a bundle.
CALIBRATED = ((*INT8, "--calibration", "data.npz"), (*INT8, "--calibration", "batches"))
OPENED = (("verify", BUNDLE), ("report", BUNDLE, "-o", "page.html"), ("check", BUNDLE, "--budget", "size=1MB"))


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
    yield from _planted_files(sound)
    yield from _planted_bundles(sound)
    yield from _planted_around(sound)


def _planted_files(sound: Sound) -> Iterator[Subject]:
    """Data and models that hold pickles."""
    plain = sound.plain()
    yield Subject(
        name="planted: objects in .npz",
        directory=plain,
        files=("data.npz",),
        commands=CALIBRATED[:1],
        plant=plants.objects,
    )
    yield Subject(
        name="planted: objects in .npy",
        directory=plain,
        files=("batches/1.npy",),
        commands=CALIBRATED[1:],
        plant=plants.objects,
    )
    untrusted = (("export", "net.pt2", *FLOAT),)
    yield Subject(
        name="planted: .pt2", directory=sound.program(), files=("net.pt2",), commands=untrusted, plant=plants.program
    )
    pickles = tuple(("export", f"cnn.{end}", *FLOAT) for end in ("pt", "pkl", "bin", "ckpt"))
    yield Subject(name="planted: pickles", directory=plain, files=("cnn.pt",), commands=pickles, plant=plants.pickles)


def _planted_bundles(sound: Sound) -> Iterator[Subject]:
    """Bundles whose files say one thing and hold another."""
    bundles = sound.signed()
    golden = (f"{BUNDLE}/golden/outputs.npz", f"{BUNDLE}/golden/inputs.npz")
    yield Subject(
        name="planted: golden data", directory=bundles, files=golden, commands=OPENED, plant=plants.objects_sealed
    )
    manifest = (f"{BUNDLE}/manifest.json",)
    build = (*OPENED, ("build", BUNDLE))
    yield Subject(
        name="planted: paths in a manifest", directory=bundles, files=manifest, commands=build, plant=plants.paths
    )
    yield Subject(
        name="planted: links in a bundle", directory=bundles, files=manifest, commands=build, plant=plants.links
    )


def _planted_around(sound: Sound) -> Iterator[Subject]:
    """What lies around a file that is read, or is named in it."""
    plain = sound.plain()
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
    whole = (*CALIBRATED, ("export", "cnn.onnx", *FLOAT), ("targets", "./mine.toml"))
    yield Subject(
        name="planted: modules", directory=plain, files=("cnn.onnx",), commands=whole, plant=plants.modules, whole=True
    )
    yield Subject(
        name="planted: modules beside a bundle",
        directory=sound.signed(),
        files=(f"{BUNDLE}/manifest.json",),
        plant=plants.modules,
        whole=True,
        commands=(*OPENED, ("profile", BUNDLE, "--scenario", "cold-start")),
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
    "decoders": of_decoders,
    "spoken": of_their_bundles,
}
