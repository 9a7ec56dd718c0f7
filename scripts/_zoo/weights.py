"""The weights that a model of the zoo is exported with: its own, random ones made sane, or briefly trained ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .judge import Values
from .model import Feed, Inputs, ZooModel
from .operators import declare
from .random_weights import enliven, settle
from .steadiness import Steadiness, as_tensors, forward, steadiness
from .training import Training, clothes, size_of, trained

# Seeds, and numbers of batches: what ranges come from, and what nothing has seen.
_WEIGHTS, _CALIBRATION, _HELD_OUT, _EXAMPLE = 0, 1, 2, 3
_BATCHES, _BATCH, _HELD_BATCHES, _HELD_BATCH = 16, 8, 16, 5
# Of a training, each as long as the first: as many as it takes.
_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """A module with weights, and the data that belong to them.

    Attributes:
        example: the tensors that it is captured with.
        calibration: what ranges come from.
        held: batches of another size that nothing has seen.
        answers: what torch makes of those.
        steady: what torch keeps of the answers.
        random: what it kept with random weights, and how it was trained then; None where it was not.
        tried: what it keeps of a training that did not help, so that its weights are the random ones.
    """

    module: Any
    example: dict[str, Any]
    calibration: list[Feed]
    held: list[Feed]
    answers: list[Values]
    steady: Steadiness
    random: tuple[Steadiness, Training] | None = None
    tried: Steadiness | None = None

    def no_test(self) -> str:
        """Why these weights say nothing of an export; empty where they do."""
        if not self.steady.holds:
            return "torch alone amplifies what is rounded"
        for name, array in self.answers[0].items():
            if array.dtype.kind == "f" and _alike(np.concatenate([values[name].ravel() for values in self.answers])):
                return f"{name} is the same everywhere, or no number"
        return ""

    def line(self) -> dict[str, Any]:
        """For a line of results."""
        told: dict[str, Any] = {"torch": self.steady.line()}
        if self.random is not None:
            before, training = self.random
            told["trained"] = {"before": before.line(), **training.line()}
        if self.tried is not None:
            told["torch"]["tried"] = self.tried.line()
        return told


def _alike(values: np.ndarray[Any, Any]) -> bool:
    """All of one value, but for a ten thousandth of it."""
    return not bool(np.ptp(values) > 1e-4 * np.abs(values).max())


def weighted(model: ZooModel) -> Weighted:
    """The model as it is exported: trained where its random weights are no test, and training helps."""
    declare()
    made = _random(model)
    pictured = None if model.trained or model.by_chance or made.steady.holds else size_of(model)
    if pictured is None:
        return made
    after = _trained(model, made.steady, *pictured)
    return after if after.steady.holds else replace(made, tried=after.steady)


def _random(model: ZooModel) -> Weighted:
    """With the statistics of a few batches, unless its weights came with the package."""
    module = _built(model)
    calibration = _feeds(model.seen or model.inputs, _CALIBRATION, _BATCHES, _BATCH)
    if not model.trained:
        enliven(module)
        settle(module, calibration[:4])
    return _with(module, calibration, model.inputs, model.unseen or model.inputs)


def _trained(model: ZooModel, before: Steadiness, name: str, size: int) -> Weighted:
    """From its author's initialization, for so many rounds as it needs.

    What an export sees are training pictures, what judges it test pictures.
    """
    module, first = _built(model), None
    seen, unseen = (clothes(name, size, part) for part in ("train", "t10k"))
    calibration = _feeds(seen, _CALIBRATION, _BATCHES, _BATCH)
    for round_ in range(_ROUNDS):
        told = trained(model, module, name, size, round_)
        first = first or told
        made = _with(module, calibration, seen, unseen)
        if made.steady.holds:
            break
    return replace(made, random=(before, replace(told, first_loss=first.first_loss)))


def _built(model: ZooModel) -> Any:
    import torch

    torch.manual_seed(_WEIGHTS)
    return model.build().eval()


def _with(module: Any, calibration: list[Feed], seen: Inputs, unseen: Inputs) -> Weighted:
    held = _feeds(unseen, _HELD_OUT, _HELD_BATCHES, _HELD_BATCH)
    answers = [forward(module, feed) for feed in held]
    steady = steadiness(module, held, answers)
    (example,) = map(as_tensors, _feeds(seen, _EXAMPLE, 1, 2))
    return Weighted(module=module, example=example, calibration=calibration, held=held, answers=answers, steady=steady)


def _feeds(inputs: Inputs, seed: int, batches: int, batch: int) -> list[Feed]:
    rng = np.random.default_rng(seed)
    return [inputs(rng, batch) for _ in range(batches)]
