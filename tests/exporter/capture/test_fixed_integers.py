"""Whole numbers in buffers: constants where forward only reads them, state where it writes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgepress.backends.base import AxisRange
from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.from_torch.fixed_integers import with_fixed_integers
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import Source, source_from_object

X = torch.rand(2, 3, 20, generator=torch.Generator().manual_seed(0))
AXES = {"batch": AxisRange(smallest=1, usual=2, largest=8)}


class Codec(nn.Module):
    """A strided convolution that pads by what its buffers say, as audio codecs do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(3, 4, 7, stride=2)
        self.register_buffer("kernel", torch.tensor(7), persistent=False)
        self.register_buffer("stride", torch.tensor(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.shape[-1]
        steps = torch.ceil((length - self.stride) / self.stride + 1).to(torch.int64)
        extra = steps * self.stride - length
        left = self.kernel - self.stride
        if length <= max(left, extra):
            raise ValueError("too short")
        return self.layer(nn.functional.pad(x, (left, extra), "reflect"))


class Warming(Codec):
    """Its counter is written, and decides what comes out from the fourth call on."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.tensor(0))

    def noted(self) -> None:
        self.calls.add_(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.noted()
        return super().forward(x * 2 if self.calls > 3 else x)


class Replacing(Warming):
    """Another tensor in the place of the last one."""

    def noted(self) -> None:
        self.calls = self.calls + 1


class Unseen(Warming):
    """Written where torch does not count it."""

    def noted(self) -> None:
        self.calls.data.add_(1)


def source_of(module: nn.Module, free: bool = True) -> Source:
    dynamic = {"x": {0: "batch"}} if free else {}
    return source_from_object(module.eval(), {"x": X}, dynamic=dynamic, name="codec")


@pytest.mark.parametrize("opset", [20, 17])
def test_sizes_may_come_of_buffers_that_are_only_read(tmp_path: Path, opset: int) -> None:
    module = Codec()
    source = source_of(module)
    graph = capture(source, opset, tmp_path / "codec.onnx", AXES)
    assert prove_capture(source, graph, 0)["output"].weakest_db > 100
    if opset == 20:  # the tracing exporter, below 18, writes out how they are computed
        assert {node.op_type for node in onnx.load(graph.path).graph.node} == {"Pad", "Conv"}
    assert isinstance(module.kernel, torch.Tensor)
    assert "forward" not in vars(module)


@pytest.mark.parametrize("opset", [20, 17])
@pytest.mark.parametrize("kind", [Warming, Replacing, Unseen])
def test_a_buffer_that_is_written_is_not_frozen(tmp_path: Path, kind: type[Warming], opset: int) -> None:
    module = kind()
    with pytest.raises(InputError, match="branches on a value"):
        capture(source_of(module), opset, tmp_path / "codec.onnx", AXES)
    assert module.calls == 0


def test_a_module_without_such_buffers_stays_what_it_is() -> None:
    assert with_fixed_integers(source_of(nn.Conv1d(3, 4, 7), free=False)) is None
