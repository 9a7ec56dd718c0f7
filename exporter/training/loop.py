"""Train a student against a teacher, the user's labels, or both."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...backends.base import Array, Feed
from ...errors import InputError, UnservedError
from ...profiles.findings.training import Epoch, TrainingRun
from ..progress import Advance
from ..recipe import TrainingSettings
from ..sources import Source, torch_predict, user_errors
from ..sources.network import within
from ..sources.score import score
from ..sources.torch_module import module_digest, named_outputs
from .checkpoint import Checkpoint, Position, Saved
from .data import Batch, input_specs, seed_all, training_data
from .objective import Output, outputs_to_follow
from .setup import accelerator, optimizer, rate, trainable
from .terms import Forward, Terms

if TYPE_CHECKING:
    from torch import Tensor, nn

Purpose = Literal["recovery", "distillation", "quantization-aware training"]
Weights = Mapping[str, "Tensor"]
# A state is written at the end of an epoch, and within one where it takes longer than this.
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """The trained module, on the CPU and in evaluation mode, and how it came to be."""

    module: nn.Module
    run: TrainingRun


def train(
    student: nn.Module,
    teacher: nn.Module | None,
    source: Source,
    settings: TrainingSettings,
    *,
    purpose: Purpose = "distillation",
    seed: int = 0,
    keep: Callable[[nn.Module], None] = lambda module: None,
    advance: Advance = lambda share, note: None,
    checkpoint: Path | None = None,
) -> TrainingOutcome:
    """Train a copy of the student; the same seed gives the same weights on a CPU.

    The student follows each float output of the teacher, and the user's `loss()` where the data have labels. The best
    weights by `evaluate()` are kept, the last ones where there is none. Under `accelerate launch` or torchrun the
    processes share the data, each with batches of its own, and all return the same weights.

    Args:
        source: gives the data, `loss` and `evaluate`; its module is not used.
        seed: of data order, dropout and projections.
        keep: called with the copy after every step; it may restore what must not change.
        checkpoint: directory of checkpoints, each run under a name made of all that decides it but the data.

    Raises:
        InputError: no data, nothing to train against, or faults of the user's data, functions or modules.
        UnservedError: accelerate is not installed.
    """
    if find_spec("accelerate") is None:
        raise UnservedError(
            "Training needs accelerate, which this installation does not have.",
            hint="Install the host tools: pip install 'edgepress[host]'",
        )
    with _generators_kept():
        run = _Run(student, teacher, source, settings, purpose, seed, keep, advance)
        return run.result(None if checkpoint is None else Checkpoint(checkpoint / run.key()))


@contextmanager
def _generators_kept() -> Iterator[None]:
    """The caller's random state is left as it was."""
    import torch

    state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(), torch.enable_grad():
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)


class _Run:
    """One training, from the first batch to the best weights."""

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        source: Source,
        settings: TrainingSettings,
        purpose: Purpose,
        seed: int,
        keep: Callable[[nn.Module], None],
        advance: Advance,
    ) -> None:
        self.source, self.settings, self.purpose, self.seed = source, settings, purpose, seed
        self.keep, self.advance = keep, advance
        self.data = training_data(source, seed)
        self.loss = source.loss if self.data.labelled else None
        if teacher is None and self.loss is None:
            raise InputError(
                f"{source.name} has nothing to train against: no teacher, and no training() with a loss().",
                hint="Add training() and loss() to the model file.",
            )
        if teacher is None and settings.features:
            raise InputError("--features needs a teacher, and there is none.")
        self.student, self.given = trainable(student), teacher
        self.accelerator = accelerator()
        self.processes = self.accelerator.num_processes
        self.stopped, self.broken = "", False
        self.best: Weights | None = None

    def key(self) -> str:
        """The name of this run's checkpoint."""
        parts = [self.purpose, self.source.digest, self.data.origin, f"{self.loss is None}"]
        parts += [f"{self.processes} {self.seed} {sorted(asdict(self.settings).items())}"]
        parts += [module_digest(module, {}, {}) for module in (self.student, self.given) if module is not None]
        return sha256("\n".join(parts).encode()).hexdigest()[:16]

    def result(self, checkpoint: Checkpoint | None) -> TrainingOutcome:
        """Train, unless the checkpoint has the result."""
        initial = _on_cpu(self.student)
        done = self._shared(lambda: None if checkpoint is None else checkpoint.finished())
        if done is None:
            done = self._train(checkpoint)
            if checkpoint is not None and self.accelerator.is_main_process:
                checkpoint.finish(*done)
        run, best = done
        with nullcontext() if checkpoint is None else checkpoint.fitted():
            self.student.load_state_dict(initial if best is None else best)
        return TrainingOutcome(module=self.student.to("cpu").eval(), run=run)

    def _train(self, checkpoint: Checkpoint | None) -> tuple[TrainingRun, Weights | None]:
        self.checkpoint = checkpoint
        saved: Saved | None = self._shared(lambda: None if checkpoint is None else checkpoint.load())
        self.advance(None, "reading the data")
        self.position = saved.position if saved else Position(counted=self.data.count(self.processes))
        self._prepare(saved)
        self._start = time.perf_counter()
        while self.position.epoch < self.settings.epochs and not self.stopped:
            self._epoch()
        self.observed.release()
        self.accelerator.free_memory()
        return self._found(), self._shared(lambda: self.best)

    def _prepare(self, saved: Saved | None) -> None:
        """Look at one batch for what is to be learned, and put everything on its device."""
        from .features import ObservedModule, feature_pairs

        pairs, inputs = feature_pairs(self.settings.features), list(self.source.inputs)
        device = self.accelerator.device
        self.observed = ObservedModule(self.student.to(device), [mine for mine, _ in pairs], inputs)
        self.teacher = None
        outputs: tuple[Output, ...] = ()
        if self.given is not None:
            self.teacher = ObservedModule(copy.deepcopy(self.given).to(device), [theirs for _, theirs in pairs], inputs)
            self.teacher.requires_grad_(False).eval()
            outputs = self._compared(self.data.first(), pairs)
            self.observed.to(device)
        self.terms = Terms(settings=self.settings, outputs=outputs, loss=self.loss, pairs=pairs)
        self.trained, self.optimizer = self.accelerator.prepare(self.observed, optimizer(self.observed, self.settings))
        if saved is None:
            self.position.before = self._score()
            return
        self.position.starts += 1
        assert self.checkpoint is not None  # what was saved came of it
        with self.checkpoint.fitted():
            if (self.position.before is None) != (self.source.evaluate is None):
                raise ValueError("its metric is known, and there is no evaluate(), or the other way round")
            self.observed.load_state_dict(saved.weights)
            self.optimizer.load_state_dict(saved.optimizer)
        self.best = saved.best

    def _compared(self, batch: Batch, pairs: tuple[tuple[str, str], ...]) -> tuple[Output, ...]:
        """Run both once: what the teacher's outputs are, whether the student's fit them, and the features' widths."""
        import torch

        assert self.teacher is not None
        feed, targets = self._moved(batch)
        with torch.no_grad():
            theirs, ours = self._run(self.teacher, feed), self._run(self.observed.eval(), feed)
        one, two = named_outputs(ours.result), named_outputs(theirs.result)
        if _shapes(one) != _shapes(two):
            raise InputError(
                f"The student gives {_shapes(one)}, the model {_shapes(two)}.",
                hint="Return the same names and shapes from both.",
            )
        seed_all(self.seed)
        self.observed.project(pairs, ours.features, theirs.features)
        return outputs_to_follow(two, targets)

    def _epoch(self) -> None:
        """One pass: steps, then the metric, then what is kept of it."""
        position, process = self.position, self.accelerator.process_index
        started = written = time.perf_counter()
        before = position.seconds
        batches = self.data.batches(position.epoch, process=process, processes=self.processes, skip=position.step)
        for batch in batches:
            loss = self._step(batch)
            if not math.isfinite(loss):
                where = f"step {position.step + 1} of epoch {position.epoch + 1}"
                self._break(f"It stopped at {where}, where the loss turned {'NaN' if loss != loss else 'infinite'}.")
                return
            position.step, position.loss = position.step + 1, position.loss + loss
            position.seconds = before + time.perf_counter() - started
            self._tell(loss)
            if time.perf_counter() - written > CHECKPOINT_SECONDS and position.step < position.counted:
                self._save()
                written = time.perf_counter()
        self._close()

    def _step(self, batch: Batch) -> float:
        """One step; its loss, mean over the processes. Nothing is changed where that is not finite."""
        import torch

        position = self.position
        done = position.epoch * position.counted + position.step
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.settings, done, self.settings.epochs * position.counted)
        seed_all(self.seed, done, self.accelerator.process_index)
        self.trained.train()
        feed, targets = self._moved(batch)
        theirs = None
        if self.teacher is not None:
            with torch.no_grad():
                theirs = self._run(self.teacher, feed)
        loss = self.terms(self._run(self.trained, feed), theirs, targets)
        mean = float(self.accelerator.reduce(loss.detach(), "mean"))
        if math.isfinite(mean):
            self.optimizer.zero_grad()
            self.accelerator.backward(loss)
            self.optimizer.step()
            with torch.no_grad():
                self.keep(self.student)
        return mean

    def _run(self, module: nn.Module, feed: Mapping[str, Tensor]) -> Forward:
        with user_errors(f"forward, on data of {self.data.origin},"):
            result, features = module(feed)
        return Forward(result=result, features=features)

    def _close(self) -> None:
        """The end of an epoch: its metric, the best weights, early stop, checkpoint."""
        position, patience = self.position, self.settings.patience
        weights = _on_cpu(self.student)
        if broken := [name for name, value in weights.items() if not bool(value.isfinite().all())]:
            self._break(f"It stopped after epoch {position.epoch + 1}, which left NaN or Inf in `{broken[0]}`.")
            return
        epoch = Epoch(loss=position.loss / position.step, metric=self._score(), seconds=position.seconds)
        position.history = (*position.history, epoch)
        position.epoch, position.step, position.loss, position.seconds = position.epoch + 1, 0, 0.0, 0.0
        if epoch.metric is None or epoch.metric > self._best_metric():
            position.best, self.best = position.epoch, weights
        elif position.epoch - position.best >= patience and position.epoch < self.settings.epochs:
            self.stopped = f"It stopped early: evaluate() was no better for {patience} epochs."
        self._save()

    def _break(self, why: str) -> None:
        self.stopped, self.broken = why, True

    def _best_metric(self) -> float:
        """Of the weights kept so far; equal ones do not replace them."""
        position = self.position
        value = position.before if position.best == 0 else position.history[position.best - 1].metric
        assert value is not None
        return value

    def _score(self) -> float | None:
        """The user's metric of the student as it is, the same on every process."""
        evaluate = self.source.evaluate
        if evaluate is None:
            return None
        self.student.eval()
        whole = self.source.whole or self.source
        run = torch_predict(replace(whole, module=within(whole, self.student)))
        specs = input_specs(whole, any_batch=False)

        def predict(feed: Feed) -> dict[str, Array]:
            # torch takes any batch, the engine does not: said here, and not after hours of training.
            for spec in (spec for spec in specs if spec.name in feed):
                if clause := spec.mismatch(feed[spec.name]):
                    raise InputError(
                        f"evaluate() gives predict() input {spec.name!r} that {clause}, as the engine will.",
                        hint="dynamic() names the axes that may vary.",
                    )
            with user_errors("forward, as evaluate() calls it,"):
                return run(feed)

        return float(self._shared(lambda: score(evaluate, predict)))

    def _save(self) -> None:
        if self.checkpoint is None or not self.accelerator.is_main_process:
            return
        now = time.perf_counter()
        self.position.spent, self._start = self.position.spent + now - self._start, now
        weights, state = self.observed.state_dict(), self.optimizer.state_dict()
        self.checkpoint.save(Saved(position=self.position, weights=weights, best=self.best, optimizer=state))

    def _shared(self, make: Callable[[], Any]) -> Any:
        """What the first process makes, on all of them."""
        if self.processes == 1:
            return make()
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([make() if self.accelerator.is_main_process else None])[0]

    def _moved(self, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        from accelerate.utils import send_to_device

        feed, targets = batch
        return send_to_device(feed, self.accelerator.device), send_to_device(targets, self.accelerator.device)

    def _tell(self, loss: float) -> None:
        position, epochs = self.position, self.settings.epochs
        within = min(1.0, position.step / position.counted)
        left = int(position.seconds / within * (epochs - position.epoch - within))
        note = f"epoch {position.epoch + 1} of {epochs}, loss {loss:.4g}, {left // 60}:{left % 60:02d} left"
        self.advance((position.epoch + within) / epochs, note)

    def _found(self) -> TrainingRun:
        position = self.position
        labels = "" if self.loss or not self.source.training else ", without its labels, as there is no loss()"
        return TrainingRun(
            purpose=self.purpose,
            data=f"{self.data.origin}{labels}",
            objective=self.terms.sentences(),
            planned=self.settings.epochs,
            history=position.history,
            before=position.before,
            best=position.best,
            stopped=self.stopped or "All epochs were run.",
            broken=self.broken,
            parameters=_size(self.student),
            teacher_parameters=None if self.given is None else _size(self.given),
            processes=self.processes,
            seconds=position.spent + time.perf_counter() - self._start,
            starts=position.starts,
        )


def _shapes(outputs: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in outputs.items())


def _on_cpu(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
