"""A run that was cut goes on; one that was finished is not repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgepress.errors import InputError
from edgepress.exporter.recipe import TrainingSettings
from edgepress.exporter.training import loop
from edgepress.exporter.training.checkpoint import Checkpoint, Position, Saved
from edgepress.exporter.training.loop import train

from ._toy import BATCHES, SETTINGS, net, same, toy, weights


class Killed(BaseException):
    """Stands for the end of the process at this very point; test_training_processes really kills one."""


@pytest.mark.parametrize("step", [3, 2 * BATCHES + 1, 4 * BATCHES])
def test_a_run_that_was_cut_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: nn.Module, step: int
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    whole = train(net(), teacher, toy(), SETTINGS)
    calls = []

    def cut(module: nn.Module) -> None:
        calls.append(1)
        if len(calls) == step:
            raise Killed

    with pytest.raises(Killed):
        train(net(), teacher, toy(), SETTINGS, keep=cut, checkpoint=tmp_path)
    goes_on: list[int] = []
    again = train(net(), teacher, toy(), SETTINGS, keep=lambda m: goes_on.append(1), checkpoint=tmp_path)
    assert len(goes_on) == SETTINGS.epochs * BATCHES - step + 1
    assert same(weights(again), weights(whole))
    assert [e.loss for e in again.run.history] == [e.loss for e in whole.run.history]
    assert (again.run.starts, again.run.best) == (2, whole.run.best)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_finished_run_is_not_repeated_but_another_is_its_own(tmp_path: Path, teacher: nn.Module) -> None:
    one = train(net(), teacher, toy(), SETTINGS, checkpoint=tmp_path)
    kept = next(tmp_path.iterdir())
    assert [p.name for p in kept.iterdir()] == ["finished"]
    # As a kill leaves them that comes after the end was written.
    (kept / "state-00000003").mkdir()
    (kept / ".writing.edgepress-0123456789abcdef").mkdir()

    def never(module: nn.Module) -> None:
        raise AssertionError("trained again")

    again = train(net(), teacher, toy(), SETTINGS, keep=never, checkpoint=tmp_path)
    assert [p.name for p in kept.iterdir()] == ["finished"]
    assert same(weights(again), weights(one))
    assert again.run == one.run
    for student, against, settings in (
        (net(seed=3), teacher, SETTINGS),
        (net(), net(64), SETTINGS),
        (net(), teacher, TrainingSettings(epochs=1)),
    ):
        assert train(student, against, toy(), settings, checkpoint=tmp_path).run != one.run
    assert len(list(tmp_path.iterdir())) == 4


def test_a_damaged_checkpoint_says_what_to_delete(tmp_path: Path, teacher: nn.Module) -> None:
    train(net(), teacher, toy(), SETTINGS, checkpoint=tmp_path)
    for file in tmp_path.rglob("run.json"):
        file.write_text("{")
    with pytest.raises(InputError, match="Delete that directory"):
        train(net(), teacher, toy(), SETTINGS, checkpoint=tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run["history"][-1].update(metric=None),
        lambda run: run.update(before=None),
        lambda run: run.update(best=9),
        lambda run: run.update(best=-1),
    ],
    ids=["a metric of one epoch", "a metric before", "an epoch that was not", "a negative epoch"],
)
def test_a_run_that_contradicts_itself_says_what_to_delete(
    tmp_path: Path, teacher: nn.Module, change: Callable[[dict[str, Any]], None]
) -> None:
    train(net(), teacher, toy(), SETTINGS, checkpoint=tmp_path)
    (file,) = tmp_path.rglob("run.json")
    run = json.loads(file.read_text())
    change(run)
    file.write_text(json.dumps(run))
    with pytest.raises(InputError, match=r"run\.json cannot be read: the (best|metric) .*\n*Delete that directory"):
        train(net(), teacher, toy(), SETTINGS, checkpoint=tmp_path)


@pytest.mark.parametrize(
    "position",
    [
        {"counted": 3, "best": 1},
        {"counted": 3, "epoch": 1, "history": [{"loss": 1.0, "metric": 0.5, "seconds": 1.0}]},
    ],
    ids=["an epoch that was not", "a metric of one epoch"],
)
def test_a_state_that_contradicts_itself_says_what_to_delete(tmp_path: Path, position: dict[str, Any]) -> None:
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(Saved(position=Position(counted=3), weights={"w": torch.ones(3)}, best=None, optimizer={"a": 1}))
    next(tmp_path.rglob("position.json")).write_text(json.dumps(position))
    with pytest.raises(InputError, match=r"cannot be read: .*(metric|best)") as caught:
        checkpoint.load()
    assert "Delete that directory" in str(caught.value.hint)


def test_weights_of_another_network_say_what_to_delete(tmp_path: Path, teacher: nn.Module) -> None:
    train(net(), teacher, toy(), SETTINGS, checkpoint=tmp_path)
    (kept,) = tmp_path.rglob("best.safetensors")
    kept.write_bytes(kept.read_bytes().replace(b"weight", b"weigth"))
    with pytest.raises(InputError, match=r"(?s)does not fit the network: .*weigth.*Delete that directory"):
        train(net(), teacher, toy(), SETTINGS, checkpoint=tmp_path)


@pytest.mark.parametrize("name", ["position.json", "weights.safetensors", "best.safetensors", "optimizer.pt"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 99, b'{"counted": 1, "loss": NaN}'])
def test_a_damaged_state_says_what_to_delete(tmp_path: Path, name: str, content: bytes) -> None:
    values = {"w": torch.ones(3)}
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(Saved(position=Position(counted=3, loss=0.5), weights=values, best=values, optimizer={"a": 1}))
    assert checkpoint.load() is not None
    next(tmp_path.rglob(name)).write_bytes(content)
    with pytest.raises(InputError, match=f"(?s){name}.*Delete that directory"):
        checkpoint.load()


def test_a_checkpoint_that_cannot_be_written(tmp_path: Path, teacher: nn.Module) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Checkpoints cannot be written"):
        train(net(), teacher, toy(), SETTINGS, checkpoint=tmp_path / "file")
