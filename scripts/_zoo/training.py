"""Networks of pictures, trained briefly to tell clothes apart: weights that a rounding disturbs as little as real ones.

The pictures are those of Fashion-MNIST, as the examples read them, resized to what a network takes.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .judge import tensors
from .lines import HOME, ROOT
from .model import Feed, Inputs, ZooModel
from .random_weights import settle

# Steps of a round, pictures a step, and for the statistics of batch norms and the accuracy at the end; the highest rate
# of a round, which is one cycle.
STEPS, _BATCH, _SETTLING, _TESTED, _RATE = 150, 32, 512, 500, 2e-3
_CLASSES, _SEED = 10, 0
# Mean and deviation of all training pictures, of 255.
_MEAN, _DEVIATION = 72.9, 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a training did: the loss of its first and last ten steps, and the share of test pictures it names right."""

    steps: int
    first_loss: float
    last_loss: float
    accuracy: float

    def line(self) -> dict[str, float]:
        """For a line of results."""
        return {key: round(value, 3) for key, value in asdict(self).items()}


def size_of(model: ZooModel) -> tuple[str, int] | None:
    """The input and the size of the square pictures in colour that a model takes alone; None for another model."""
    feed = model.inputs(np.random.default_rng(0), 1)
    (name, array), *others = feed.items()
    fits = not others and array.ndim == 4 and array.shape[1] == 3 and array.shape[2] == array.shape[3]
    return (name, array.shape[3]) if fits else None


def clothes(name: str, size: int, part: str) -> Inputs:
    """Pictures of a part, `train` or `t10k`, as feeds."""
    return lambda rng, samples: {name: _drawn(part, size, rng, samples)[0].numpy()}


def trained(model: ZooModel, module: Any, name: str, size: int, round_: int) -> Training:
    """Give the module the weights of so many rounds and one more, which are kept: the first call makes them.

    Args:
        module: as the round before left it.
    """
    import torch

    path = HOME / "trained" / f"{model.name}-{round_}-{_digest()}.pt"
    if not path.exists():
        torch.manual_seed(round_)
        losses = _fitted(module, name, size, np.random.default_rng(round_))
        settle(module, _feeds("train", name, size, _SETTLING))
        first_loss, last_loss = float(np.mean(losses[:10])), float(np.mean(losses[-10:]))
        told = Training(
            steps=STEPS * (round_ + 1), first_loss=first_loss, last_loss=last_loss,
            accuracy=_accuracy(module, name, size),
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"weights": module.state_dict(), "training": asdict(told)}, path)
    kept = torch.load(path, weights_only=True)
    module.load_state_dict(kept["weights"])
    module.eval()
    return Training(**kept["training"])


def _digest() -> str:
    """Of all that decides the weights but the model's own code."""
    import torch

    return hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()[:12]


def _fitted(module: Any, name: str, size: int, rng: np.random.Generator) -> list[float]:
    """The losses of all steps."""
    import torch

    optimizer = torch.optim.AdamW(module.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=STEPS)
    losses = []
    module.train()
    for _ in range(STEPS):
        pictures, classes = _drawn("train", size, rng, _BATCH)
        loss = sum(_losses(module(**{name: pictures}), classes))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def _losses(result: Any, classes: Any) -> Iterable[Any]:
    from torch.nn.functional import cross_entropy

    for scores in (_scores(output) for output in tensors(result).values() if output.is_floating_point()):
        yield cross_entropy(scores[:, :_CLASSES], classes % scores.shape[1])


def _scores(output: Any) -> Any:
    """Of any output one score a channel: its mean over all places. Those of (N, places, channels) come last."""
    channels = 2 if output.ndim == 3 else 1
    return output.movedim(channels, 1).flatten(2).mean(2) if output.ndim > 2 else output


def _accuracy(module: Any, name: str, size: int) -> float:
    """Of the first output, on test pictures."""
    import torch

    pictures, classes = _drawn("t10k", size, np.random.default_rng(_SEED), _TESTED)
    right = 0
    for x, y in zip(pictures.split(_BATCH), classes.split(_BATCH), strict=True):
        with torch.no_grad():
            scores = _scores(next(iter(tensors(module(**{name: x})).values())))
        right += int((scores[:, :_CLASSES].argmax(1) == y % scores.shape[1]).sum())
    return right / _TESTED


def _feeds(part: str, name: str, size: int, samples: int) -> list[Feed]:
    rng = np.random.default_rng(_SEED)
    return [clothes(name, size, part)(rng, _BATCH) for _ in range(samples // _BATCH)]


def _drawn(part: str, size: int, rng: np.random.Generator, samples: int) -> tuple[Any, Any]:
    """Random pictures (N, 3, size, size) of about zero mean and unit variance, and their classes (N,)."""
    import torch

    pictures, classes = _read(part)
    rows = rng.integers(0, len(classes), samples)
    grey = torch.from_numpy((pictures[rows, None].astype(np.float32) - _MEAN) / _DEVIATION)
    wide = torch.nn.functional.interpolate(grey, size=(size, size), mode="bilinear", antialias=True)
    return wide.expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(classes[rows].astype(np.int64))


@functools.cache
def _read(part: str) -> tuple[Any, Any]:
    """Grey pictures (N, 28, 28) in bytes, and their classes."""
    sys.path.insert(0, str(ROOT / "examples"))
    import _fashion

    return _fashion.pictures(part)
