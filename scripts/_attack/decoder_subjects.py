"""What a model that writes text is read from, and bundles of it."""

from __future__ import annotations

from collections.abc import Iterator

from . import changes, plants
from .sound import WRITER, WRITING, Sound
from .subject import ARRAYS, BYTES, JSON, Subject


def of_decoders(sound: Sound) -> Iterator[Subject]:
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


def of_their_bundles(sound: Sound) -> Iterator[Subject]:
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
