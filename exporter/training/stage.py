"""Train what was made smaller: a pruned model, or the user's student, against the model as given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...profiles.findings.gap import Gap
from ...profiles.machine import processes
from ..progress import Advance
from ..recipe import Recipe
from ..sources import Source
from ..sources.data import feeds_given
from ..sources.network import network_of, whole_of
from ..workshop import Workshop

if TYPE_CHECKING:
    from torch import nn

    from .loop import Purpose, TrainingOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What is trained, a network alone, on what, and how.

    Attributes:
        original: the network as given, where pruning changed it.
        restore: called after each step; puts back what pruning fixed.
    """

    source: Source
    original: Source | None
    recipe: Recipe
    restore: Callable[[nn.Module], None]
    workshop: Workshop
    advance: Advance

    def done(self) -> dict[str, Any]:
        """As `run` returns it."""
        if self.recipe.distill:
            return self._distilled()
        return {} if self.original is None else self._recovered(self.original)

    def _distilled(self) -> dict[str, Any]:
        source = self._with_data()
        outcome = self._train(_student(source), source, source, "distillation")
        if not outcome.run.history and self.recipe.training.epochs:
            raise InputError(
                f"The student was not trained. {outcome.run.stopped}",
                hint="Lower --learning-rate, and look at loss() and at the data for NaN or Inf.",
            )
        return {**self._shipping(outcome), "original": whole_of(self.source)}

    def _recovered(self, original: Source) -> dict[str, Any]:
        source = self._with_data()
        if source.training is None and source.calibration is None:
            return _without("It was not trained after pruning: no training() and no calibration data.")
        if not self.recipe.training.epochs:
            return _without("It was not trained after pruning: 0 epochs were asked for.")
        assert source.module is not None
        return self._shipping(self._train(source.module, original, source, "recovery"))

    def _train(self, student: nn.Module, teacher: Source, source: Source, purpose: Purpose) -> TrainingOutcome:
        """Train once for all targets that ask for the same."""
        from ..sources.torch_module import module_digest
        from .loop import train

        key = module_digest(student, source.inputs, source.dynamic)
        return self.workshop.memo.once(
            "trained",
            key,
            lambda: train(
                student,
                teacher.module,
                source,
                self.recipe.training,
                purpose=purpose,
                seed=self.recipe.seed,
                keep=self.restore,
                advance=self.advance,
                checkpoint=self.workshop.memo.checkpoint,
            ),
        )

    def _shipping(self, outcome: TrainingOutcome) -> dict[str, Any]:
        """The trained module as the model."""
        from ..sources.torch_module import module_digest

        given, training = self.source, outcome.run
        digest = module_digest(outcome.module, given.inputs, given.dynamic)
        broken = _without(f"Training broke off. {training.stopped}") if training.broken else {}
        trained = replace(given, module=outcome.module, digest=digest)
        return {"source": whole_of(trained), "training": training, **broken}

    def _with_data(self) -> Source:
        """The source, with the recipe's calibration data where these are what it is trained on."""
        from .data import input_specs

        source = self.source
        if source.module is None or source.program is not None:
            raise InputError(
                f"{source.name} comes from {'an ONNX file' if source.module is None else 'a .pt2 program'}, "
                "which cannot be trained.",
                hint="Give the model as a Python file with model() and inputs().",
            )
        if source.training is not None or self.recipe.calibration is None:
            return source
        whole = source.whole or source
        given = replace(whole, calibration=feeds_given(self.recipe, input_specs(whole), whole.inputs))
        return given if source.whole is None else replace(source, calibration=given.calibration, whole=given)


def run(
    *,
    source: Source,
    original: Source | None,
    recipe: Recipe,
    restore: Callable[[nn.Module], None],
    workshop: Workshop,
    advance: Advance,
) -> dict[str, Any]:
    """Replace the source's network by the trained one, where one is to be trained.

    Of several processes that train together the first goes on; the others end here, with exit code 0, where they are
    not to train int8 as well.

    Returns:
        Of `source`, `original`, `training` and `missing` what changed.

    Raises:
        InputError: no student, or faults of it, of training(), of loss() or of evaluate().
    """
    trained = {}
    if recipe.distill or original is not None:
        network, given = network_of(source), None if original is None else network_of(original)
        trained = _Task(
            source=network, original=given, recipe=recipe, restore=restore, workshop=workshop, advance=advance
        ).done()
    if processes.rank() > 0 and not recipe.qat:  # which they train together once int8 is made
        raise SystemExit(0)
    return trained


def _without(why: str) -> dict[str, Any]:
    return {"missing": (Gap(about="training", why=why),)}


def _student(source: Source) -> nn.Module:
    """The user's student, which must take the model's inputs and give its outputs.

    Raises:
        InputError: there is none, or it does not.
    """
    from ..sources.torch_module import check_forward, output_tensors

    if source.student is None:
        raise InputError(
            f"{source.name} has no student() to train.",
            hint="Add student() to the model file: a smaller network with the inputs and outputs of model().",
        )
    student = source.student()
    check_forward(student, source.inputs, "student()")
    assert source.module is not None
    ours, theirs = (
        {name: tuple(tensor.shape) for name, tensor in output_tensors(module, source.inputs).items()}
        for module in (student, source.module)
    )
    if ours != theirs:
        raise InputError(
            f"student() gives {_said(ours)} for the example inputs, model() gives {_said(theirs)}.",
            hint="Return the same names and shapes from both.",
        )
    return student


def _said(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
