"""Train what was made smaller: a pruned model, or the user's student, against the model as given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...calibration.feeds import feeds_from_path
from ...errors import InputError
from ...profiles.machine import processes
from ..draft import Draft
from ..progress import Advance
from ..sources import Source

if TYPE_CHECKING:
    from torch import nn

    from .loop import Purpose, TrainingOutcome


def run(draft: Draft, advance: Advance) -> Draft:
    """Replace the source's module by the trained one.

    Of several processes that train together the first goes on; the others end here, with exit code 0.

    Raises:
        InputError: no student, or faults of it, of training(), of loss() or of evaluate().
    """
    trained = _trained(draft, advance)
    if processes.rank() > 0:
        raise SystemExit(0)
    return trained


def _trained(draft: Draft, advance: Advance) -> Draft:
    if draft.recipe.distill:
        return _distilled(draft, advance)
    return draft if draft.original is None else _recovered(draft, advance)


def _distilled(draft: Draft, advance: Advance) -> Draft:
    source = _with_data(draft, draft.source)
    outcome = _train(draft, _student(source), source, source, "distillation", advance)
    if not outcome.run.history and draft.recipe.training.epochs:
        raise InputError(
            f"The student was not trained. {outcome.run.stopped}",
            hint="Lower --learning-rate, and look at loss() and at the data for NaN or Inf.",
        )
    return replace(_shipping(draft, outcome), original=draft.source)


def _recovered(draft: Draft, advance: Advance) -> Draft:
    assert draft.original is not None
    source = _with_data(draft, draft.source)
    if source.training is None and source.calibration is None:
        return draft.without("training", "It was not trained after pruning: no training() and no calibration data.")
    if not draft.recipe.training.epochs:
        return draft.without("training", "It was not trained after pruning: 0 epochs were asked for.")
    assert source.module is not None
    return _shipping(draft, _train(draft, source.module, draft.original, source, "recovery", advance))


def _train(
    draft: Draft, student: nn.Module, teacher: Source, source: Source, purpose: Purpose, advance: Advance
) -> TrainingOutcome:
    """Train once for all targets that ask for the same."""
    from ..sources.torch_module import module_digest
    from .loop import train

    key = module_digest(student, source.inputs, source.dynamic)
    if key not in draft.shared.trained:
        draft.shared.trained[key] = train(
            student,
            teacher.module,
            source,
            draft.recipe.training,
            purpose=purpose,
            seed=draft.recipe.seed,
            keep=draft.restore,
            advance=advance,
            checkpoint=draft.shared.checkpoint,
        )
    return draft.shared.trained[key]


def _shipping(draft: Draft, outcome: TrainingOutcome) -> Draft:
    """The draft with the trained module as its model."""
    from ..sources.torch_module import module_digest

    given, run = draft.source, outcome.run
    digest = module_digest(outcome.module, given.inputs, given.dynamic)
    draft = replace(draft, source=replace(given, module=outcome.module, digest=digest), training=run)
    return draft.without("training", f"Training broke off. {run.stopped}") if run.broken else draft


def _with_data(draft: Draft, source: Source) -> Source:
    """The source, with the recipe's calibration data where these are what it is trained on."""
    from .data import input_specs

    if source.module is None or source.program is not None:
        raise InputError(
            f"{source.name} comes from {'an ONNX file' if source.module is None else 'a .pt2 program'}, "
            "which cannot be trained.",
            hint="Give the model as a Python file with model() and inputs().",
        )
    path = draft.recipe.calibration
    if source.training is not None or path is None:
        return source
    batch = next((len(array) for array in source.inputs.values() if array.ndim), 1)
    return replace(source, calibration=feeds_from_path(Path(path), input_specs(source), batch))


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
