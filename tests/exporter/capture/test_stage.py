"""Models at which torch's newer exporter fails, or that it freezes, and inputs whose values are sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import edgepress
from edgepress.errors import EdgepressError, InputError
from edgepress.exporter.graphs.synthesis import synthesize


class Stacked(nn.Module):
    """Recurrent layers one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTM(8, 8, batch_first=True), nn.GRU(8, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x)[0])[0]


class Siamese(nn.Module):
    """Two images through one encoder as one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        x, y = torch.chunk(self.encoder(torch.cat([a, b])), 2)
        return (x * y).mean((2, 3))


class Padded(nn.Module):
    """The mask has as many columns as the longest sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        longest = features.shape[1] if torch.compiler.is_compiling() else int(lengths.max())
        mask = torch.arange(longest)[None] < lengths[:, None]
        return self.layer(features) * mask[..., None]


IMAGES = torch.rand(2, 3, 8, 8)
BATCH = {0: "batch"}
MODELS = {
    "stacked": (Stacked(), {"x": torch.rand(2, 6, 8)}, {"x": {0: "batch", 1: "time"}}),
    "siamese": (Siamese(), {"a": IMAGES, "b": IMAGES.flip(0)}, {"a": BATCH, "b": BATCH}),
    "padded": (Padded(), {"features": torch.rand(2, 9, 8), "lengths": torch.tensor([9, 4])}, {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_is_exported_and_right_at_other_sizes(name: str, tmp_path: Path) -> None:
    module, inputs, dynamic = MODELS[name]
    bundle = edgepress.export(
        module.eval(), inputs, target="server-cpu", name="m", dynamic=dynamic, measure=False, output=tmp_path
    )
    sizes = {"batch": 3, "time": 11}
    feed = synthesize({n: t.numpy() for n, t in inputs.items()}, dynamic, sizes, seed=9)
    with torch.no_grad():
        expected = module(**{n: torch.from_numpy(a) for n, a in feed.items()}).numpy()
    session = onnxruntime.InferenceSession(bundle.path / "model.onnx", providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, feed)[0], expected, atol=1e-5)


def test_the_longest_of_made_up_lengths_fills_the_axis() -> None:
    example = {"features": np.zeros((4, 20, 3), np.float32), "lengths": np.array([20, 13, 7, 5])}
    dynamic = {"features": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}
    for sizes in ({}, {"time": 50, "batch": 8}, {"time": 2}, {"batch": 1, "time": 1}):
        made = synthesize(example, dynamic, sizes, seed=3)
        lengths, longest = made["lengths"], made["features"].shape[1]
        assert lengths.max() == longest
        assert lengths.min() >= 1
        assert (np.diff(lengths) <= 0).all(), "packed sequences must stay sorted"


class Pair(nn.Module):
    """A loop over the second input, which a graph can only unroll."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return torch.stack([left.mean(0) * row for row in right])


class PairByAnyName(Pair):
    def forward(self, **features: torch.Tensor) -> torch.Tensor:
        return super().forward(features["left"], features["right"])


class PairByPosition(Pair):
    def forward(self, one: torch.Tensor, other: torch.Tensor, /) -> torch.Tensor:
        return super().forward(one, other)


@pytest.mark.parametrize("kind", [Pair, PairByAnyName, PairByPosition])
def test_a_size_that_forward_fixes_is_called_as_the_user_calls_it(kind: type[nn.Module], tmp_path: Path) -> None:
    inputs = {"left": torch.rand(2, 3), "right": torch.rand(2, 3)}
    dynamic = {"left": {}, "right": {0: "pairs"}}
    with pytest.raises(InputError, match=r"'pairs' \(axis 0 of 'right'\) cannot stay free.*fixes it to 2") as refused:
        edgepress.export(kind(), inputs, target="server-cpu", name="m", dynamic=dynamic, measure=False, output=tmp_path)
    assert "right.shape[0]" in str(refused.value.hint)


class Pooled(nn.Module):
    """torch.export fixes the length that its pool reads, and the tracing exporter has no form of a median."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(x).median(1)[0]


def test_where_a_pool_may_be_what_fixes_a_size_it_is_named(tmp_path: Path) -> None:
    inputs, dynamic = {"x": torch.rand(2, 5, 24)}, {"x": {0: "batch", 2: "length"}}
    with pytest.raises(InputError, match=r"'length' \(axis 2 of 'x'\) cannot stay free.*fixes it to 24") as refused:
        edgepress.export(Pooled(), inputs, target="cpu", name="m", dynamic=dynamic, measure=False, output=tmp_path)
    assert "MaxPool2d of x.unsqueeze(2)" in str(refused.value.hint)


class Automatic(nn.Module):
    """Computes in bfloat16 by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.layer(x).float()


def test_a_forward_that_chooses_its_own_precision_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(EdgepressError) as refused:
        edgepress.export(Automatic().eval(), {"x": IMAGES}, target="server-cpu", measure=False, output=tmp_path)
    assert "torch.autocast" in str(refused.value.hint)


class Recognizer(nn.Module):
    """Two recurrent layers behind a convolution, whose width torch's newer exporter loses; it needs a few columns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 8, (8, 2)), nn.MaxPool2d((1, 2))
        self.cells = nn.LSTM(8, 6, 2, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cells(self.pool(self.conv(x)).squeeze(2).permute(2, 0, 1))[0]


def test_a_size_at_which_the_model_fails_is_told_and_not_the_other_exporters_failure(tmp_path: Path) -> None:
    given = {"x": torch.rand(2, 1, 8, 14)}  # each column is a step, which torch.export writes out
    options = {"target": "server-cpu", "precision": "fp32", "measure": False, "name": "reads"}
    free = {"x": {0: "batch", 3: "width"}}
    with pytest.raises(InputError, match=r"The model fails on inputs of the shapes x \(1, 1, 8, 1\)") as refused:
        edgepress.export(Recognizer().eval(), given, dynamic=free, output=tmp_path / "failed", **options)
    assert "--axis" in str(refused.value.hint)
    reach = {"width": edgepress.AxisRange(smallest=8, usual=14, largest=64)}
    edgepress.export(Recognizer().eval(), given, dynamic=free, axes=reach, output=tmp_path / "made", **options)
