"""What an engine is made of: ncnn's two files, and `model.json` with their hashes and the tensors by the graph's names.

ncnn trusts what it opens, and may end the process on a file that was cut off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgepress.errors import InputError

PARAM, BIN, FORM = "model.param", "model.bin", "model.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A tensor in ncnn.

    Attributes:
        name: in `model.param`.
        batch_index: which axis of an array is that of the samples, as `ncnn.Mat` takes it; 233 where ncnn keeps all.
    """

    name: str
    batch_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Inputs and outputs by the names that the graph gives them."""

    inputs: Mapping[str, Blob]
    outputs: Mapping[str, Blob]

    def save(self, directory: Path) -> None:
        """Write `model.json` beside the two files."""
        text = json.dumps({**asdict(self), "sha256": _hashes(directory)}, indent=2, sort_keys=True)
        (directory / FORM).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, param: Path) -> Form:
        """Of an engine whose files are those that were compiled.

        Raises:
            InputError: one was cut off or changed.
        """
        directory = param.parent
        try:
            data = json.loads((directory / FORM).read_text(encoding="utf-8"))
            blobs = {side: {name: Blob(**one) for name, one in data[side].items()} for side in ("inputs", "outputs")}
            sound = param.name == PARAM and data["sha256"] == _hashes(directory)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            sound = False
        if not sound:
            raise InputError(
                f"{param.name} or {BIN} is not as it was compiled: {FORM} says otherwise, or is missing.",
                hint="Copy the engine again, whole.",
            )
        return cls(**blobs)


def _hashes(directory: Path) -> dict[str, str]:
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in (PARAM, BIN)}
