"""Modules in wrappers, in half precision, and compiled ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgepress.backends.base import AxisRange
from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture, prove_capture
from edgepress.exporter.sources import Source, source_from_object

X = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
FREE = {"batch": AxisRange(smallest=1, usual=2, largest=8)}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()


class Anything(nn.Module):
    """A wrapper that passes on whatever it is given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, *kwargs.values())


class Partly(nn.Module):
    """One input by name, the other among `**kwargs`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, gain: torch.Tensor, **kwargs: torch.Tensor) -> torch.Tensor:
        return self.inner(kwargs["x"]) * gain


class Partial(nn.Module):
    """A compiled part in a plain whole."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.compile(network())

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.inner(input) * 2


def compiled_in_place() -> nn.Module:
    module = network()
    module.compile()
    return module


def wrapped() -> dict[str, tuple[nn.Module, dict[str, torch.Tensor]]]:
    return {
        "DataParallel": (nn.DataParallel(network()), {"input": X}),
        "compiled": (torch.compile(network()), {"input": X}),
        "compiled in place": (compiled_in_place(), {"input": X}),
        "compiled inside": (Partial(), {"input": X}),
        "both": (nn.DataParallel(torch.compile(network())), {"input": X}),
        "anything": (Anything(network()), {"x": X}),
        "partly": (Partly(network()), {"x": X, "gain": torch.rand(2, 1, 1, 1)}),
    }


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize(
    "name", ["DataParallel", "compiled", "compiled in place", "compiled inside", "both", "anything", "partly"]
)
def test_a_wrapper_is_taken_off(name: str, opset: int, tmp_path: Path) -> None:
    module, inputs = wrapped()[name]
    source = source_from_object(module, inputs, dynamic={each: {0: "batch"} for each in inputs})
    graph = _prove(source, opset, tmp_path)
    assert [spec.name for spec in graph.inputs] == list(source.inputs)


def test_the_digest_is_that_of_the_module_inside() -> None:
    plain = source_from_object(network(), {"input": X})
    assert source_from_object(nn.DataParallel(network()), {"input": X}).digest == plain.digest


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_single_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    module = network().to(dtype)
    given = X if dtype == torch.bfloat16 else X.to(dtype)
    batch = {"input": given.numpy()}
    fed = []
    source = source_from_object(
        module,
        {"input": given},
        dynamic={"input": {0: "batch"}},
        calibration=lambda: iter([batch]),
        evaluate=lambda predict: fed.append(predict({"input": given})) or 1.0,
    )
    assert next(module.parameters()).dtype == dtype, "the user's own module was changed"
    assert source.inputs["input"].dtype == np.float32
    assert source.calibration is not None and source.evaluate is not None
    assert next(iter(source.calibration()))["input"].dtype == np.float32
    source.evaluate(lambda feed: dict(feed))
    assert fed[0]["input"].dtype == np.float32
    assert _prove(source, 20, tmp_path).inputs[0].dtype == "float32"


@pytest.mark.parametrize("make", [torch.jit.script, lambda module: torch.jit.trace(module, X)], ids=["script", "trace"])
def test_a_script_is_called_one(make: Any) -> None:
    script = make(network())
    for module in (script, nn.Sequential(script)):
        with pytest.raises(InputError, match="is a ScriptModule") as refused:
            source_from_object(module, {"input": X})
        assert "the Python module that it was made from" in str(refused.value.hint)


def test_a_predictor_takes_tensors() -> None:
    seen = []

    def evaluate(predict: Any) -> float:
        seen.append(predict({"input": X}))
        return 1.0

    source = source_from_object(network(), {"input": X}, evaluate=evaluate)
    assert source.evaluate is not None
    source.evaluate(lambda feed: dict(feed))
    assert isinstance(seen[0]["input"], np.ndarray)


def _prove(source: Source, opset: int, directory: Path) -> Any:
    graph = capture(source, opset, directory / "model.onnx", FREE if source.dynamic else {})
    for agreement in prove_capture(source, graph, seed=0).values():
        assert agreement.sqnr_db > 100
    return graph
