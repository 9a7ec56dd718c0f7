"""What a measuring process is told: one file that names the engine, its input, and the cores it may use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from ...profiles.device.target import Target
from ..base import Engine, Feed


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An engine and how it is to be run.

    Attributes:
        threads: intra-op threads.
        affinity: the cores that the process is bound to; empty leaves the system's choice.
    """

    engine: Engine
    target: Target
    threads: int
    affinity: tuple[int, ...]

    def save(self, directory: Path, feed: Feed) -> Path:
        """Write the job and its input into the directory; returns the job's file."""
        np.savez(directory / "feed.npz", **feed)  # type: ignore[arg-type]
        path = directory / "job.json"
        path.write_text(json.dumps(to_jsonable_python(self)), encoding="utf-8")
        return path


def load_job(path: Path) -> tuple[Job, Feed]:
    """What `save` wrote."""
    job = TypeAdapter(Job).validate_json(path.read_bytes())
    with np.load(path.with_name("feed.npz"), allow_pickle=False) as file:
        return job, {name: file[name] for name in file.files}
