from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from edgepress.errors import InputError
from edgepress.exporter.training.data import TrainingData, training_data

from ._toy import BATCHES, toy, training


def loader(count: int = 40, batch: int = 4) -> DataLoader[Any]:
    """The samples are their own numbers."""

    def collate(items: list[tuple[Tensor, ...]]) -> tuple[dict[str, Tensor], Tensor]:
        numbers = torch.stack([item[0] for item in items])
        return {"x": numbers[:, None].expand(-1, 8).float() + torch.rand(())}, numbers

    return DataLoader(TensorDataset(torch.arange(count)), batch_size=batch, shuffle=True, collate_fn=collate)


def data(**changed: Any) -> TrainingData:
    return training_data(toy(**changed), seed=0)


def numbers(given: TrainingData, **how: Any) -> list[list[int]]:
    return [targets.tolist() for _, targets in given.batches(how.pop("epoch", 0), **how)]


@pytest.mark.parametrize("passes", [training, lambda epoch=0: loader()], ids=["generator", "loader"])
def test_two_processes_see_different_batches_and_together_each_once(passes: Any) -> None:
    given = data(training=passes)
    whole = numbers(given)
    parts = [numbers(given, process=process, processes=2) for process in (0, 1)]
    assert len(parts[0]) == len(parts[1]) == len(whole) / 2 == given.count(2)
    assert sorted(n for part in parts for batch in part for n in batch) == sorted(n for batch in whole for n in batch)


@pytest.mark.parametrize("passes", [training, lambda epoch=0: loader()], ids=["generator", "loader"])
def test_what_is_left_out_at_the_start_does_not_change_the_rest(passes: Any) -> None:
    given = data(training=passes)
    whole, rest = (list(given.batches(3, skip=skip)) for skip in (0, 4))
    assert len(rest) == len(whole) - 4
    for (one, _), (two, _) in zip(whole[4:], rest, strict=True):
        assert torch.equal(one["x"], two["x"]), "augmentation is drawn anew from the place of a batch"
    other = next(iter(given.batches(4)))[0]["x"]
    assert not torch.equal(other, whole[0][0]["x"])


def test_a_loader_with_a_generator_of_its_own_starts_each_epoch_alike() -> None:
    own = DataLoader(
        TensorDataset(torch.arange(40)),
        batch_size=4,
        shuffle=True,
        generator=torch.Generator().manual_seed(3),
        collate_fn=lambda items: ({"x": torch.zeros(len(items), 8)}, torch.stack([item[0] for item in items])),
    )
    given = data(training=lambda epoch=0: own)
    assert numbers(given, epoch=1) == numbers(given, epoch=1) != numbers(given, epoch=2)
    assert numbers(given, process=1, processes=2) == numbers(given, process=1, processes=2)


def test_processes_that_cannot_share() -> None:
    with pytest.raises(InputError, match=f"gives {BATCHES} batches, fewer than the 7 processes"):
        data().count(7)


def test_the_first_axis_may_have_any_size_even_where_it_is_not_free() -> None:
    source = toy(dynamic={})
    (batch, _) = next(iter(training_data(source, 0).batches(0)))
    assert batch["x"].shape == (16, 8)


def test_calibration_data_stand_in_without_labels() -> None:
    given = data(training=None)
    assert (given.origin, given.labelled, given.count()) == ("calibration()", False, BATCHES)
    feed, targets = next(iter(given.batches(0)))
    assert feed["x"].dtype == torch.float32
    assert targets is None
    wrong = data(training=None, calibration=lambda: iter([{"x": np.zeros((4, 9), np.float32)}]))
    with pytest.raises(InputError, match=r"calibration\(\), batch 0: input 'x' has shape \(4, 9\)"):
        next(iter(wrong.batches(0)))
