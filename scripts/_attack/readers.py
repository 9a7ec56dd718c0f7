"""The readers alone, in this process: thousands of damaged files a minute, where a whole command takes a second."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.calibration.arrays import read_arrays
from edgepress.calibration.storage import load_statistics
from edgepress.exporter.bundle.manifest import load_bundle
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.pipeline import axis_ranges
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.recipe_file import load_recipe
from edgepress.exporter.sources import load_source
from edgepress.profiles.device.target import load_target

from . import changes

WORDS = (changes.of_words, changes.of_words, changes.of_bytes)


def _capture(path: Path) -> None:
    source = load_source(str(path))
    capture(source, 20, path.with_name("captured.onnx"), axis_ranges(source, Recipe()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What reads a kind of file, and how such a file is damaged."""

    read: Callable[[Path], Any]
    changes: Sequence[changes.Change]


READERS = {
    "model.onnx": Reader(read=_capture, changes=(changes.of_bytes, changes.of_fields, changes.of_fields)),
    "target.toml": Reader(read=lambda path: load_target(str(path)), changes=WORDS),
    "recipe.toml": Reader(read=load_recipe, changes=WORDS),
    "statistics.safetensors": Reader(read=load_statistics, changes=(changes.of_bytes,)),
    "manifest.json": Reader(
        read=lambda path: load_bundle(path.parent), changes=(changes.of_json, changes.of_json, changes.of_bytes)
    ),
    "data.npz": Reader(read=read_arrays, changes=(changes.of_bytes, changes.of_arrays)),
}


def damaged(sound: Path, kind: str, seeds: Iterable[int], scratch: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """For each seed what was done to a copy of the sound file, and what reads that.

    Args:
        kind: of `READERS`, which is the name of the copy.
    """
    reader = READERS[kind]
    for seed in seeds:
        chance = random.Random(seed)
        change: Callable[..., tuple[str, bytes]] = chance.choice(list(reader.changes))
        said, data = change(chance, sound.read_bytes())
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        (scratch / kind).write_bytes(data)
        yield f"{kind}, seed {seed}: {said}", lambda: reader.read(scratch / kind)
