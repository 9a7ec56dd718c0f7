"""What a child process is told: one file that names the engine, its input, and the cores it may use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from ..base import Engine, Feed

FEED = "feed.npz"
_NAMED = "array:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An engine and how it is to be run.

    Attributes:
        engine: None for a process that only compiles.
        threads: intra-op threads; None leaves the runtime's own choice.
        affinity: the cores that the process is bound to; empty leaves the system's choice.
        decoder: the engine is a decoder's, to be opened with the vendor's own library.
        logits: the engine is a decoder's, to be opened for what it holds likely.
    """

    engine: Engine | None
    threads: int | None = None
    affinity: tuple[int, ...] = ()
    decoder: bool = False
    logits: bool = False

    def save(self, directory: Path, feed: Feed | None = None) -> Path:
        """Write the job and the input that it is to be run on into the directory; returns the job's file."""
        if feed is not None:
            save_arrays(directory / FEED, feed)
        path = directory / "job.json"
        path.write_text(json.dumps(to_jsonable_python(self)), encoding="utf-8")
        return path


def load_job(path: Path) -> tuple[Job, Feed | None]:
    """What `save` wrote."""
    job = TypeAdapter(Job).validate_json(path.read_bytes())
    feed = path.with_name(FEED)
    return job, load_arrays(feed) if feed.exists() else None


def save_arrays(path: Path, arrays: Feed) -> None:
    """Write arrays by name, which may be one that `np.savez` gives a meaning of its own, like `file`."""
    np.savez(path, **{f"{_NAMED}{name}": array for name, array in arrays.items()})  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """What `save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return {name.removeprefix(_NAMED): file[name] for name in file.files}
