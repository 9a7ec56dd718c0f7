"""What was measured of one engine, as one value and one file: raw samples, settings, machine and conditions.

Percentiles are derived from the samples when they are asked for, so that no file can hold one that they do not carry.
The file's schema is `docs/profile.schema.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from ...errors import InputError
from ..machine.conditions import Conditions
from ..machine.energy import Energy
from ..machine.environment import Machine
from ..machine.memory import Memory
from ..machine.writing import write_whole
from ..reading.json_file import MOST_SAMPLES
from ..timing.measure import Settings
from ..timing.measurement import Measurement
from .files import parsed, read_json
from .language import Language
from .layers import Layer

SCHEMA = 1
KIND = "edgepress profile"
MADE_BY = "edgepress profile BUNDLE --output FILE"
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The engine that ran and its input.

    Attributes:
        name: the bundle's directory or the ONNX file, without its path.
        digest: sha256 of the engine's file.
        runtime: with its version, as `openvino 2026.4.1`.
        shapes: of each input as it was fed, as `1x3x224x224 float32`.
    """

    name: str
    kind: Literal["bundle", "onnx"]
    digest: str
    target: str
    precision: str
    runtime: str
    shapes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What has to be equal for two figures to compare.

    Attributes:
        affinity: the cores that the process was bound to; empty where the system has no such thing.
    """

    machine: Machine
    threads: int
    affinity: tuple[int, ...]
    tools: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Fresh processes from their start to their first answer; one value a process, in nanoseconds.

    The files are in the system's cache by then, as they are on the second start of a device.

    Attributes:
        started: until the interpreter runs edgepress.
        imported: until edgepress and the runtime are imported.
        opened: until the engine is loaded and, where the runtime does that, compiled.
        first: the first inference.
    """

    started: tuple[int, ...]
    imported: tuple[int, ...]
    opened: tuple[int, ...]
    first: tuple[int, ...]

    @property
    def total(self) -> tuple[int, ...]:
        """From the start of the process to its first answer."""
        return tuple(map(sum, zip(self.started, self.imported, self.opened, self.first, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Samples a second with several streams at once.

    Attributes:
        streams: sessions that run at the same time; they share the threads.
        windows: samples a second in each window of time.
    """

    batch: int
    streams: int
    threads: int
    windows: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Median of the windows."""
        return float(np.median(self.windows))

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """95 % percentile bootstrap of the median over windows."""
        drawn = np.random.default_rng(seed).choice(self.windows, (RESAMPLES, len(self.windows)))
        low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
        return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSplit:
    """Bytes on disk.

    Attributes:
        files: of the engine, by name.
        weights: of all weights in the graph that it is compiled from.
        layers: weights by layer of that graph, the largest first.
    """

    files: Mapping[str, int]
    weights: int
    layers: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Bytes of the engine."""
        return sum(self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything that was measured of one engine.

    Attributes:
        mode: `quick` or `report`: how long, and how many samples.
        single_stream: latencies of one inference at a time; one measurement a process.
        before: the machine under load, before the first sample.
        disturbed: why the figures are not the machine's own: throttling, or a clock that fell.
        language: of a decoder, whose speed is in tokens a second; None for every other model.
        missing: what was not done or is not told here, and why.
        unfinished: why it ended before its time; what there is was taken before that.
    """

    schema: int = SCHEMA
    kind: Literal["edgepress profile"] = "edgepress profile"
    measured: Measured
    setup: Setup
    mode: str
    settings: Settings
    date: str
    command: str
    single_stream: tuple[Measurement, ...] = ()
    offline: tuple[Throughput, ...] = ()
    cold_start: ColdStart | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    size: SizeSplit | None = None
    layers: tuple[Layer, ...] = ()
    before: Conditions | None = None
    after: Conditions | None = None
    disturbed: tuple[str, ...] = ()
    language: Language | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    unfinished: str = ""

    @property
    def stable(self) -> bool:
        """A steady state was reached, nothing disturbed it, and it came to its end."""
        steady = all(run.stable for run in self.single_stream) and not self._unsteady
        return not self.unfinished and not self.disturbed and steady

    @property
    def _unsteady(self) -> str:
        speed = None if self.language is None else self.language.speed
        return "" if speed is None else speed.unsteady


def save_profile(profile: Profile, path: Path) -> None:
    """Write the file, whole or not at all."""
    text = json.dumps(to_jsonable_python(profile), sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")


def load_profile(path: Path) -> Profile:
    """Read what `save_profile` wrote.

    Raises:
        InputError: there is no such file, it is damaged, or it is no profile of this schema.
    """
    data = read_json(path, MADE_BY, MOST_SAMPLES)
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise InputError(
            f"{path} is not a measurement: expected a file that `edgepress profile --output` wrote.",
            hint="Give a bundle, an .onnx file, or such a file.",
        )
    return parsed(path, data, SCHEMA, Profile)


def json_schema() -> str:
    """The JSON schema of the file."""
    return json.dumps(TypeAdapter(Profile).json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
