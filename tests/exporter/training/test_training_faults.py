"""What a user may get wrong about training: one message each, before time is spent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgepress.errors import InputError, UnservedError
from edgepress.exporter.recipe import TrainingSettings
from edgepress.exporter.training import loop
from edgepress.exporter.training.loop import train

from ._toy import SETTINGS, fails, net, toy, training


def test_without_accelerate_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "find_spec", lambda name: None)
    with pytest.raises(UnservedError, match=r"pip install 'edgepress\[host\]'"):
        train(net(), None, toy(), SETTINGS)


def batches(*given: Any) -> Any:
    return lambda epoch=0: list(given)


GOOD = ({"x": torch.zeros(4, 8)}, torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"training": batches()}, "training() gives no batch."),
        ({"training": batches(GOOD[0])}, "training(), batch 0 is a dict; expected ({input: tensor}, targets)"),
        ({"training": batches((1, 2, 3))}, "batch 0 is a tuple of 3: (int, int, int)"),
        ({"training": batches(GOOD, ({"y": GOOD[0]["x"]}, 0))}, "batch 1 has 'y'; the model's inputs are 'x'"),
        ({"training": batches(({"x": torch.zeros(4, 7)}, 0))}, "'x' has shape (4, 7), expected (batch, 8)"),
        ({"training": batches(({"x": torch.zeros(4, 8).double()}, 0))}, "has dtype float64, expected float32"),
        ({"training": batches(({"x": [1]}, 0))}, "'x' is a list, expected a tensor"),
        ({"loss": lambda outputs, targets: 3.0}, "loss() returns a float; expected a float scalar tensor"),
        ({"loss": lambda outputs, targets: outputs}, "loss() returns a tensor of shape (16, 3), float32"),
        ({"loss": lambda outputs, targets: outputs.mean().detach()}, "does not depend on the outputs"),
        ({"loss": lambda outputs, targets: targets.label}, "loss() fails."),
        ({"loss": None}, "nothing to train against"),
        ({"training": None, "calibration": None}, "brings no data to train on"),
        ({"evaluate": lambda predict: None}, "evaluate() returned None; expected a finite number"),
        ({"evaluate": lambda predict: "0.9"}, "evaluate() returned '0.9'; expected a finite number"),
        ({"evaluate": lambda predict: 1 / 0}, "evaluate() fails."),
        ({"evaluate": lambda predict: predict({})["output"]}, "predict() was given nothing; it also needs x"),
        ({"evaluate": lambda predict: predict({"x": np.zeros((2, 3), "f")})}, "shape (2, 3), expected (batch, 8)"),
        ({"dynamic": {}}, "'x' that has shape (200, 8), expected (2, 8)"),
    ],
)
def test_one_clear_message(changed: dict[str, Any], says: str) -> None:
    assert says in fails(toy(**changed))


def test_a_generator_that_can_be_read_once_is_told_from_data() -> None:
    once = training()
    assert "gives no batch for epoch 1" in fails(toy(training=lambda epoch=0: once))


def test_training_that_raises_shows_the_users_line() -> None:
    def broken(epoch: int = 0) -> Iterator[Any]:
        yield GOOD
        raise OSError("disk gone")

    message = fails(toy(training=broken))
    assert "training() fails." in message
    assert "disk gone" in message


def test_a_forward_that_does_not_take_the_batch_says_which_data() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.reshape(2, 8))

    with pytest.raises(InputError, match=r"forward, on data of training\(\), fails"):
        train(Fixed(), None, toy(evaluate=None), SETTINGS)


def test_a_student_with_other_outputs(teacher: nn.Module) -> None:
    with pytest.raises(InputError, match=r"student gives output \(16, 4\), the model output \(16, 3\)"):
        train(net(classes=4), teacher, toy(), SETTINGS)


def test_a_misspelt_feature_names_the_near_ones(teacher: nn.Module) -> None:
    message = fails(toy(), teacher=teacher, settings=TrainingSettings(features=("bodi",)))
    assert "Net has no module 'bodi'; near are body" in message


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"epochs": -1}, "epochs is -1"),
        ({"learning_rate": 0.0}, "learning-rate is 0.0; expected a number above 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"teacher_weight": 1.5}, "teacher-weight is 1.5; expected a share, 0 to 1"),
        ({"feature_weight": -1.0}, "feature-weight is -1.0"),
    ],
)
def test_settings_out_of_range(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        TrainingSettings(**given)
