"""Models that remember, that write into their inputs, and that only seem to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgepress.backends.base import AxisRange
from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.capture.state import refuse_state
from edgepress.exporter.sources import Source, source_from_object, torch_predict

X = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))


class Running(nn.Module):
    """A running mean in a buffer, changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        self.mean.mul_(0.9).add_(0.1 * y.mean(0))
        return y - self.mean


class Attribute(nn.Module):
    """A hidden state that is a plain attribute, made at the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.hidden: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.hidden = self.layer(x) if self.hidden is None else torch.tanh(self.hidden + self.layer(x))
        return self.hidden


class Listed(nn.Module):
    """A list of what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.mean())
        return x + torch.stack(self.seen).sum()


class Counting(nn.Module):
    """Counts its calls, and nothing reads the count."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.layer(x)


class Scratch(nn.Module):
    """Writes a buffer anew before it reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("scratch", torch.zeros(2, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.scratch.copy_(self.layer(x))
        return self.scratch * 2


class Anchored(nn.Module):
    """Keeps a table of the last shape, as detection heads do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.shape: torch.Size | None = None
        self.table: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        if self.shape != y.shape:
            self.table, self.shape = torch.arange(y.shape[-1], dtype=y.dtype), y.shape
        return y + self.table


class Normalizing(nn.Module):
    """Writes into its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.sub_(0.5))


class StillTraining(nn.Module):
    """A norm that forward puts into training mode, as copied code does."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm.train()(x)


class SetByTheFirstBatch(nn.Module):
    """A data-dependent initialization, as of ActNorm: the same inputs are answered alike ever after."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.shift = nn.Parameter(torch.zeros(4))
        self.ready = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        if not self.ready:
            self.shift.data.copy_(-y.detach().mean(0))
            self.ready = True
        return y + self.shift


def test_weights_that_the_first_batch_sets_are_refused() -> None:
    with pytest.raises(InputError, match="changes its weights shift") as refused:
        source_from_object(SetByTheFirstBatch().eval(), {"x": X})
    assert "data-dependent initialization" in str(refused.value.hint)


@pytest.mark.parametrize("module", [Running(), Attribute(), Listed()], ids=lambda module: type(module).__name__)
def test_what_keeps_state_is_refused(module: nn.Module) -> None:
    with pytest.raises(InputError, match="keeps state between calls") as refused:
        source_from_object(module.eval(), {"x": X})
    assert "an input and an output" in str(refused.value.hint)


def test_a_norm_in_training_mode_is_told_as_one(tmp_path: Path) -> None:
    source = source_from_object(StillTraining().eval(), {"x": X})
    with pytest.raises(InputError, match=r"norm\.running_mean, norm\.running_var") as refused:
        capture(source, 20, tmp_path / "model.onnx", {})
    assert "training mode" in str(refused.value.hint)


def test_what_writes_into_its_input_is_refused() -> None:
    with pytest.raises(InputError, match="changes its input x in place"):
        source_from_object(Normalizing(), {"x": X})


def test_a_buffer_that_the_program_changes_is_refused_where_two_calls_do_not_tell() -> None:
    """The state has settled on the example: only the exported program shows it."""
    module = Running().eval()
    program = torch.export.export(module, (X,)).run_decompositions({})
    with pytest.raises(InputError, match="changes the buffer mean in place"):
        refuse_state(program, "running")


@pytest.mark.parametrize(
    ("module", "opset"), [(Counting(), 17), (Counting(), 20), (Scratch(), 20)], ids=["old", "new", "written"]
)
def test_what_no_output_depends_on_is_no_state(module: nn.Module, opset: int, tmp_path: Path) -> None:
    source = source_from_object(module.eval(), {"x": X})
    _prove(source, opset, tmp_path)


@pytest.mark.parametrize("opset", [17, 20])
def test_a_table_of_the_last_shape_leaves_the_axis_free(opset: int, tmp_path: Path) -> None:
    module = Anchored().eval()
    source = source_from_object(module, {"x": X}, dynamic={"x": {0: "batch"}})
    _prove(source, opset, tmp_path)
    assert module.shape is None
    assert torch_predict(source)({"x": np.ones((5, 4), np.float32)})["output"].shape == (5, 4)


def test_random_numbers_are_no_state(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    before = torch.random.get_rng_state()
    source_from_object(Noisy(), {"x": X})
    assert torch.equal(before, torch.random.get_rng_state())


def _prove(source: Source, opset: int, directory: Path) -> None:
    axes = {"batch": AxisRange(smallest=1, usual=2, largest=8)} if source.dynamic else {}
    graph = capture(source, opset, directory / "model.onnx", axes)
    for agreement in prove_capture(source, graph, seed=0).values():
        assert agreement.sqnr_db > 100


class Seen(nn.Module):
    """A mean over the last inputs, kept in a list: what sees the same again answers the same."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.seen = []

    def forward(self, x):
        self.seen.append(self.layer(x))
        return torch.stack(self.seen[-3:]).mean(0)


def test_state_that_the_same_inputs_do_not_show_is_refused():
    with pytest.raises(InputError, match="keeps state between calls"):
        source_from_object(Seen().eval(), torch.randn(2, 4))
