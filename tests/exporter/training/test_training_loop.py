from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from edgepress.errors import InputError
from edgepress.exporter.recipe import TrainingSettings
from edgepress.exporter.training.loop import train
from edgepress.exporter.training.setup import rate

from ._toy import BATCHES, SETTINGS, loss, net, points, same, toy, weights


def test_labels_alone_teach_and_the_given_network_is_left_alone(teacher: nn.Module) -> None:
    student = net()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    outcome = train(student, None, toy(), SETTINGS)
    run = outcome.run
    assert same(before, dict(student.state_dict()))
    assert run.before is not None
    assert run.after is not None
    assert run.after > run.before + 0.2
    assert run.history[-1].loss < run.history[0].loss
    assert (run.objective, run.data, run.teacher_parameters) == (("loss()",), "training()", None)
    assert not outcome.module.training
    assert run.stopped == "All epochs were run."


def test_a_teacher_gives_soft_labels_where_there_are_classes(teacher: nn.Module) -> None:
    run = train(net(), teacher, toy(), SETTINGS).run
    assert run.objective == ("0.9 x soft labels at temperature 4 on `output`", "0.1 x loss()")
    assert run.after is not None
    assert run.after > 0.8
    assert run.teacher_parameters == sum(p.numel() for p in teacher.parameters())


def test_without_training_data_it_distils_on_the_calibration_set_and_says_so(teacher: nn.Module) -> None:
    run = train(net(), teacher, toy(training=None), SETTINGS).run
    assert run.data == "calibration()"
    assert run.objective == ("relative squared difference from the teacher's on `output`",)
    assert run.after is not None
    assert run.after > 0.7


def test_training_without_a_loss_uses_no_labels(teacher: nn.Module) -> None:
    run = train(net(), teacher, toy(loss=None), SETTINGS).run
    assert run.data == "training(), without its labels, as there is no loss()"
    assert run.objective == ("soft labels at temperature 4 on `output`",)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_random_state(teacher: nn.Module) -> None:
    student = net()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = random.random(), np.random.random(), torch.rand(1).item()
    source = toy()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    one = train(student, teacher, source, SETTINGS)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected
    assert same(weights(one), weights(train(net(), teacher, toy(), SETTINGS)))
    assert not same(weights(one), weights(train(net(), teacher, toy(), SETTINGS, seed=1)))


def test_a_loader_that_shuffles_and_drops_out_is_reproducible(teacher: nn.Module) -> None:
    x, y = (torch.from_numpy(array) for array in points(1))

    def loader() -> DataLoader[Any]:
        made = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
        return DataLoader(made.dataset, batch_size=16, shuffle=True, collate_fn=collate)

    def collate(items: list[Any]) -> tuple[dict[str, Tensor], Tensor]:
        return {"x": torch.stack([item[0] for item in items])}, torch.stack([item[1] for item in items])

    source = toy(training=lambda epoch=0: loader())
    assert same(weights(train(net(), teacher, source, SETTINGS)), weights(train(net(), teacher, source, SETTINGS)))


def test_features_of_other_widths_are_projected_and_matched(teacher: nn.Module) -> None:
    settings = TrainingSettings(epochs=2, features=("body.2", "body=body"), teacher_weight=1.0, feature_weight=2.0)
    outcome = train(net(8), teacher, toy(), settings)
    assert outcome.run.objective[-1] == "2 x features of `body.2`, `body`"
    assert outcome.run.history[1].loss < outcome.run.history[0].loss
    assert outcome.module.state_dict().keys() == net(8).state_dict().keys()


def test_images_are_projected_along_their_channels() -> None:
    from edgepress.exporter.training.features import ObservedModule

    student, teacher = nn.Sequential(nn.Conv2d(1, 4, 3)), nn.Sequential(nn.Conv2d(1, 6, 3))
    one, two = (ObservedModule(m, ["0"], ["input"]) for m in (student, teacher))
    feed = {"input": torch.randn(2, 1, 8, 8)}
    own, other = one(feed)[1], two(feed)[1]
    one.project([("0", "0")], own, other)
    assert one(feed)[1]["0"].shape == other["0"].shape == (2, 6, 6, 6)
    pooled = ObservedModule(nn.Sequential(nn.Conv2d(1, 6, 5)), ["0"], ["input"])
    with pytest.raises(InputError, match=r"gives \(2, 6, 4, 4\) and '0' of the teacher \(2, 6, 6, 6\)"):
        pooled.project([("0", "0")], pooled(feed)[1], other)


def test_the_best_epoch_is_kept_and_patience_ends_it(teacher: nn.Module) -> None:
    marks = iter([0.1, 0.5, 0.9, 0.3, 0.9, 0.2, 0.1])
    outcome = train(net(), teacher, toy(evaluate=lambda predict: next(marks)), TrainingSettings(epochs=10, patience=3))
    run = outcome.run
    assert (run.best, len(run.history), run.before, run.after) == (2, 5, 0.1, 0.9)
    assert run.stopped == "It stopped early: evaluate() was no better for 3 epochs."


def test_kept_weights_are_those_of_the_best_epoch(teacher: nn.Module) -> None:
    seen: list[Tensor] = []

    def evaluate(predict: Any) -> float:
        seen.append(torch.from_numpy(predict({"x": points(2, 20)[0]})["output"]))
        return {1: 0.5, 3: 0.9}.get(len(seen), 0.1)

    outcome = train(net(), teacher, toy(evaluate=evaluate), SETTINGS)
    with torch.no_grad():
        assert torch.equal(outcome.module(torch.from_numpy(points(2, 20)[0])), seen[2])


def test_without_evaluate_the_last_epoch_is_kept(teacher: nn.Module) -> None:
    run = train(net(), teacher, toy(evaluate=None), SETTINGS).run
    assert (run.best, run.before, run.after) == (4, None, None)


def test_what_must_stay_is_restored_after_every_step(teacher: nn.Module) -> None:
    calls = []

    def keep(module: nn.Module) -> None:
        calls.append(1)
        module.head.weight[:, ::2] = 0

    outcome = train(net(), teacher, toy(), SETTINGS, keep=keep)
    assert len(calls) == SETTINGS.epochs * BATCHES
    assert not outcome.module.head.weight[:, ::2].any()
    assert outcome.module.head.weight[:, 1::2].all()


def test_frozen_weights_stay_unless_all_are() -> None:
    student = net()
    student.head.requires_grad_(False)
    outcome = train(student, None, toy(), SETTINGS)
    assert torch.equal(outcome.module.head.weight, student.head.weight)
    student.requires_grad_(False)
    assert not torch.equal(train(student, None, toy(), SETTINGS).module.head.weight, student.head.weight)


def test_progress_tells_the_loss_and_the_time_left(teacher: nn.Module) -> None:
    notes: list[tuple[float | None, str]] = []
    train(net(), teacher, toy(), SETTINGS, advance=lambda share, note: notes.append((share, note)))
    shares = [share for share, _ in notes if share is not None]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert notes[-1][1].startswith("epoch 4 of 4, loss ")
    assert notes[-1][1].endswith(" 0:00 left")


def test_the_rate_rises_then_falls_to_nothing() -> None:
    settings = TrainingSettings(learning_rate=1.0, warmup=0.2)
    rates = [rate(settings, step, 50) for step in range(50)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[9] == rates[10] == 1.0
    assert rates[30] == pytest.approx(0.5)
    assert rates[-1] < 0.01
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


# A loss that turns NaN


def test_a_loss_that_turns_nan_stops_and_keeps_the_best(teacher: nn.Module) -> None:
    calls = []

    def turning(outputs: Tensor, targets: Tensor) -> Tensor:
        calls.append(1)
        return loss(outputs, targets) * (float("nan") if len(calls) == 2 * BATCHES + 3 else 1.0)

    whole = train(net(), teacher, toy(evaluate=None), TrainingSettings(epochs=4, learning_rate=0.02))
    outcome = train(net(), teacher, toy(loss=turning, evaluate=None), SETTINGS)
    run = outcome.run
    assert run.stopped == "It stopped at step 3 of epoch 3, where the loss turned NaN."
    assert (run.best, len(run.history)) == (2, 2)
    assert run.history[1].loss == whole.run.history[1].loss
    assert all(tensor.isfinite().all() for tensor in weights(outcome).values())


def test_nan_before_any_epoch_keeps_the_model_as_it_came() -> None:
    student = net()
    outcome = train(student, None, toy(loss=lambda outputs, targets: outputs.sum() * float("inf")), SETTINGS)
    assert outcome.run.best == 0
    assert outcome.run.after == outcome.run.before
    assert outcome.run.stopped.startswith("It stopped at step 1 of epoch 1, where the loss turned ")
    assert same(dict(student.state_dict()), weights(outcome))


def test_weights_that_turn_nan_at_the_last_step_of_an_epoch_are_not_kept() -> None:
    class Spoilt(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Tensor:
            return gradient * float("nan")

    calls = []

    def spoiling(outputs: Tensor, targets: Tensor) -> Tensor:
        calls.append(1)
        value = loss(outputs, targets)
        return Spoilt.apply(value) if len(calls) == 2 * BATCHES else value

    outcome = train(net(), None, toy(loss=spoiling), SETTINGS)
    assert outcome.run.stopped.startswith("It stopped after epoch 2, which left NaN or Inf in `body.0.weight`")
    assert all(tensor.isfinite().all() for tensor in weights(outcome).values())
