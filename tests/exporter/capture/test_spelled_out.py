"""Operators that torch's tracing exporter lacks: what is called in their place, and what the graph makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.from_torch.spelled_out import spelled_out
from edgepress.exporter.sources import source_from_object

BOUNDS = torch.linspace(-1, 1, 5)
FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "channel_shuffle": lambda x: functional.channel_shuffle(x, 2),
    "ChannelShuffle": nn.ChannelShuffle(2),
    "rms_norm": lambda x: functional.rms_norm(x, (6,), weight=torch.arange(1.0, 7.0)),
    "RMSNorm": nn.RMSNorm(6, eps=1e-3),
    "threshold": nn.Threshold(0.1, -1.0),
    "searchsorted": lambda x: torch.searchsorted(BOUNDS, x, right=True).float(),
    "movedim": lambda x: x.movedim(-1, 1) * 2,
    "moveaxis": lambda x: torch.moveaxis(x, (1, -1), (-1, 2)),
    "mT": lambda x: x.mT * 2,
    "mH": lambda x: x.mH * 2,
    "adjoint": lambda x: x.adjoint() * 2,
    "unfold": lambda x: functional.pad(x, (0, 0, 1, 1)).unfold(2, 3, 2),
    "windows": lambda x: x.unfold(-1, 2, 2) + functional.unfold(x, 1).mean(),
    "trunc": lambda x: torch.trunc(input=3 * x),
    "fix": lambda x: torch.fix(3 * x),
    "frac": lambda x: (3 * x).frac(),
    "floor_divide": lambda x: torch.floor_divide(3 * x, 2.0),
    "floordiv": lambda x: (3 * x) // 2 + (x.shape[2] // 2),
    "exp2": lambda x: x.exp2(),
    "expm1": lambda x: torch.expm1(x * 1e-3) * 1e3 + torch.expm1(x),
    "diff": lambda x: x.diff(dim=1),
    "diff twice": lambda x: torch.diff(x, 2, -1),
    "hypot": lambda x: torch.hypot(x, x + 1),
    "logaddexp": lambda x: torch.logaddexp(30 * x, -x),
    "logaddexp of what is left out": lambda x: torch.logaddexp(x.masked_fill(x < 0, -math.inf), x.relu().log()),
    "sgn": lambda x: x.sgn() + x,
    "sinc": lambda x: torch.sinc(torch.relu(x)),
    "positive": lambda x: +x,
    "fliplr": lambda x: x.fliplr(),
    "flipud": lambda x: torch.flipud(x),
    "ravel": lambda x: x.ravel(),
    "count_nonzero": lambda x: torch.relu(x).count_nonzero(1).float(),
    "rad2deg": lambda x: x.rad2deg(),
    "deg2rad": lambda x: torch.deg2rad(x),
    "sinh": lambda x: x.sinh(),
    "cosh": lambda x: x.cosh(),
    "asinh": lambda x: x.asinh(),
    "acosh": lambda x: torch.acosh(x.abs() + 1.5),
    "atanh": lambda x: torch.atanh(x.tanh() / 2),
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: form for name, form in FORMS.items() if isinstance(form, nn.Module)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: form(x) for name, form in FORMS.items()}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    """Of all of them, traced once."""
    torch.manual_seed(0)
    inputs = {"x": torch.randn(2, 4, 5, 6)}
    source = source_from_object(Net().eval(), inputs, dynamic={"x": {0: "batch", 2: "height"}})
    return onnxruntime.InferenceSession(
        capture(source, 17, tmp_path_factory.mktemp("traced") / "net.onnx", {}, tracing=True).path
    )


@pytest.mark.parametrize("name", FORMS)
def test_an_operator_that_the_tracing_exporter_lacks_is_computed_by_others(
    name: str, session: onnxruntime.InferenceSession
) -> None:
    for size in (1, 5, 8):
        x = torch.randn(3, 4, size, 6)
        right = FORMS[name](x).detach()
        with spelled_out():
            np.testing.assert_allclose(FORMS[name](x).detach(), right, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(session.run([name], {"x": x.numpy()})[0], right, rtol=1e-5, atol=1e-5)


def test_bounds_of_each_row_have_no_form() -> None:
    with spelled_out():
        found = torch.searchsorted(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([[0.5], [2.5]]))
    assert found.tolist() == [[1], [1]]
