"""A sound file that is damaged, and the commands that read it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import changes, plants

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
