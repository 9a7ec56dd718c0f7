"""What a model of the zoo is, and the noise that it is fed with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

Feed: TypeAlias = dict[str, np.ndarray[Any, Any]]
# Gives a feed of so many samples.
Inputs: TypeAlias = Callable[[np.random.Generator, int], Feed]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """A model that somebody else wrote.

    Attributes:
        build: makes the module, with random weights unless `trained`.
        inputs: a feed of some samples, other ones for another generator.
        free: names of the free axes, by input and axis; by default the first of every input.
        trained: its weights came with the package.
        sizes: `MIN:USUAL:MAX` of a free axis by its name, where that is not left to the export.
        seen: what ranges come from, where that is other than `inputs`, as of several sizes; `unseen`: what judges.
    """

    name: str
    library: str
    build: Callable[[], Any]
    inputs: Inputs
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    trained: bool = False
    sizes: Mapping[str, str] = field(default_factory=dict)
    seen: Inputs | None = None
    unseen: Inputs | None = None

    @property
    def by_chance(self) -> bool:
        """Nobody wrote it: it is of a seed, and left out where it is no test."""
        return self.library == "chance"


def images(size: int = 64, name: str = "pixel_values", channels: int = 3) -> Inputs:
    """Smooth pictures with a little noise, zero mean and unit variance."""

    def feed(rng: np.random.Generator, samples: int) -> Feed:
        coarse = rng.standard_normal((samples, channels, 8, 8))
        smooth = np.repeat(np.repeat(coarse, -(-size // 8), axis=2), -(-size // 8), axis=3)[..., :size, :size]
        return {name: (smooth + 0.2 * rng.standard_normal(smooth.shape)).astype(np.float32)}

    return feed


def clips(frames: int, size: int, name: str, axis: int = 2) -> Inputs:
    """Moving pictures; `axis` is that of time."""

    def feed(rng: np.random.Generator, samples: int) -> Feed:
        pictures = images(size, name)(rng, samples)[name]
        moving = np.stack([np.roll(pictures, step, axis=-1) for step in range(frames)], axis=axis)
        return {name: moving.astype(np.float32)}

    return feed


def tokens(length: int = 24, vocabulary: int = 200, mask: bool = True) -> Inputs:
    """Token numbers; with a mask the last ones of some samples are padding."""

    def feed(rng: np.random.Generator, samples: int) -> Feed:
        ids = rng.integers(3, vocabulary, (samples, length))
        if not mask:
            return {"input_ids": ids}
        kept = np.arange(length) < rng.integers(length // 2, length + 1, (samples, 1))
        return {"input_ids": np.where(kept, ids, 1), "attention_mask": kept.astype(np.int64)}

    return feed


def waves(length: int = 3200, name: str = "input_values") -> Inputs:
    """A few tones in noise."""

    def feed(rng: np.random.Generator, samples: int) -> Feed:
        time = np.arange(length) / 16000
        tones = rng.uniform(100, 3000, (samples, 3, 1))
        sound = np.sin(2 * np.pi * tones * time + rng.uniform(0, 6, tones.shape)).sum(1)
        return {name: (sound / 2 + 0.1 * rng.standard_normal(sound.shape)).astype(np.float32)}

    return feed


def normal(name: str, *shape: int) -> Inputs:
    """White noise of that shape a sample."""
    return lambda rng, samples: {name: rng.standard_normal((samples, *shape)).astype(np.float32)}


def together(*parts: Inputs) -> Inputs:
    """Several inputs of one model."""
    return lambda rng, samples: {name: array for part in parts for name, array in part(rng, samples).items()}


def axes(model: ZooModel) -> dict[str, dict[int, str]]:
    """The free axes of a model."""
    feed = model.inputs(np.random.default_rng(0), 2)
    return {name: dict(model.free.get(name, {0: "batch"})) for name in feed}
