"""A training run on disk: a killed one goes on, a finished one is not repeated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...calibration.tensors import read_tensors, write_tensors
from ...errors import InputError
from ...profiles.findings.files import json_text
from ...profiles.findings.training import Epoch, TrainingRun, need_consistent
from ...profiles.machine.held import clean, held
from ...profiles.reading.json_file import read_as
from ...profiles.reading.opened import LINE, opened

if TYPE_CHECKING:
    from torch import Tensor

    Weights = Mapping[str, Tensor]

_FINISHED = "finished"
_HINT = "Delete that directory to train from the start."


@dataclass(slots=True, kw_only=True)
class Position:
    """How far a run has come; random numbers are seeded by the place in it, so they need no state of their own.

    Attributes:
        epoch: the epoch that is running, from 0.
        step: steps of it that are done.
        loss: sum of their losses.
        seconds: wall time of the steps of this epoch that are done.
        spent: wall time of the whole run.
        best: epoch of the best weights, from 1; 0 is the model as it came.
        counted: steps in an epoch.
    """

    counted: int
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    spent: float = 0.0
    starts: int = 1
    before: float | None = None
    best: int = 0
    history: tuple[Epoch, ...] = ()

    def __post_init__(self) -> None:
        """A state that was read is one that a run may go on from."""
        need_consistent(self.history, self.before, self.best)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a run needs to go on; `best` is left out where it is the model as it came."""

    position: Position
    weights: Weights
    best: Weights | None
    optimizer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The directory of one run, named after what decides it.

    A state is a directory that is renamed into place when it is whole; the one before is deleted afterwards.
    """

    directory: Path

    def save(self, saved: Saved) -> None:
        """Write a state in place of the last one."""
        older = self._states()
        number = int(older[-1].name.partition("-")[2]) + 1 if older else 0
        with _whole(self.directory / f"state-{number:08d}") as work:
            write_tensors(work / "weights.safetensors", _flat(saved.weights), "pt")
            if saved.best is not None:
                write_tensors(work / "best.safetensors", _flat(saved.best), "pt")
            (work / "position.json").write_text(json_text(saved.position), encoding="utf-8")
            _save(dict(saved.optimizer), work / "optimizer.pt")
        for state in older:
            shutil.rmtree(state)

    def load(self) -> Saved | None:
        """The last state, None where there is none.

        Raises:
            InputError: it is damaged.
        """
        import torch

        states = self._states()
        if not states:
            return None
        state = states[-1]
        best = state / "best.safetensors"
        with opened(state / "optimizer.pt", hint=_HINT) as file:
            optimizer = torch.load(file, weights_only=True)
        return Saved(
            position=read_as(state / "position.json", Position, hint=_HINT),
            weights=_weights(state / "weights.safetensors"),
            best=_weights(best) if best.exists() else None,
            optimizer=optimizer,
        )

    @contextmanager
    def fitted(self) -> Iterator[None]:
        """Inside, the network and the optimizer take what was read; what does not fit them was damaged.

        Raises:
            InputError: it does not fit.
        """
        try:
            yield
        except (RuntimeError, ValueError, KeyError) as error:
            said = " ".join(str(error).split())[:LINE]
            raise InputError(f"Checkpoint {self.directory} does not fit the network: {said}", hint=_HINT) from error

    def finish(self, run: TrainingRun, best: Weights | None) -> None:
        """Keep the result and drop the states."""
        with _whole(self.directory / _FINISHED) as work:
            (work / "run.json").write_text(json_text(run), encoding="utf-8")
            if best is not None:
                write_tensors(work / "best.safetensors", _flat(best), "pt")
        self._drop_states()

    def finished(self) -> tuple[TrainingRun, Weights | None] | None:
        """The result of a run that came to its end, None where it did not; no weights are those it began with.

        Where a kill came between the end and what follows, the states go now.

        Raises:
            InputError: it is damaged.
        """
        directory = self.directory / _FINISHED
        if not directory.is_dir():
            return None
        clean(self.directory)
        self._drop_states()
        run = read_as(directory / "run.json", TrainingRun, hint=_HINT)
        return run, _weights(directory / "best.safetensors") if run.best else None

    def _drop_states(self) -> None:
        for state in self._states():
            shutil.rmtree(state)

    def _states(self) -> list[Path]:
        return sorted(self.directory.glob("state-*")) if self.directory.is_dir() else []


def _weights(path: Path) -> Weights:
    return read_tensors(path, "pt", hint=_HINT)[1]


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A directory that exists whole or not at all."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            work = stack.enter_context(held(path.parent, ".writing.")) / path.name
            work.mkdir()
        except OSError as error:
            raise InputError(
                f"Checkpoints cannot be written to {path.parent}: {error.strerror}.",
                hint="Choose another --checkpoint.",
            ) from error
        yield work
        work.replace(path)


def _save(values: Mapping[str, Any], path: Path) -> None:
    """torch.save, of which a full disk is the system's error, and not one of the archive inside."""
    import torch

    try:
        with path.open("wb") as file:
            torch.save(values, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _flat(weights: Weights) -> dict[str, Tensor]:
    """Copies that share no memory, as safetensors wants them."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
