"""Modules in wrappers, in half precision, and compiled ones."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgepress.backends.base import AxisRange
from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
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


def test_the_module_of_a_program_is_called_one() -> None:
    program = torch.export.export(network(), (X,)).module()
    with pytest.raises(InputError, match="the module of an exported program") as refused:
        source_from_object(program, {"input": X})
    assert "torch.export.save" in str(refused.value.hint)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_torch_prepared_for_training_in_integers_is_called_so() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).train()
    module.qconfig = torch.ao.quantization.get_default_qat_qconfig("x86")  # type: ignore[assignment]
    torch.ao.quantization.prepare_qat(module, inplace=True)
    module(X)
    with pytest.raises(InputError, match="has prepared it for training in integers") as refused:
        source_from_object(module.eval(), {"input": X})
    assert "load_state_dict" in str(refused.value.hint)


@pytest.mark.filterwarnings("ignore")
def test_modules_that_torch_has_quantized_are_called_so() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    quantized = torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, torch.qint8)
    with pytest.raises(InputError, match=r"module '0' inside the model is .* quantized already"):
        source_from_object(quantized, {"input": torch.rand(2, 6)})


class Squashed(nn.Module):
    """A weight's parametrization."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.tanh(weight) + weight.mean()


def parametrized() -> nn.Module:
    """Weights that are computed at each call, one by an operator that ONNX lacks, and one read by two layers."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
    module[1] = module[3]
    nn.utils.parametrizations.orthogonal(module[0])
    nn.utils.parametrizations.weight_norm(module[2])
    nn.utils.parametrize.register_parametrization(module[3], "weight", Squashed())
    return module.eval()


@pytest.mark.parametrize("opset", [17, 20])
def test_computed_weights_are_weights(opset: int, tmp_path: Path) -> None:
    module = parametrized()
    expected = module(X)
    graph = _prove(source_from_object(module, {"input": X}, dynamic={"input": {0: "batch"}}), opset, tmp_path)
    operators = {node.op_type for node in onnx.load(graph.path).graph.node}
    assert operators <= {"MatMul", "Add", "Gemm", "Reshape", "Transpose"}
    assert nn.utils.parametrize.is_parametrized(module[0]) and torch.equal(module(X), expected)


def test_example_inputs_in_bfloat16_are_those_numbers(tmp_path: Path) -> None:
    source = source_from_object(network().bfloat16(), {"input": X.bfloat16()}, dynamic={"input": {0: "batch"}})
    assert np.array_equal(source.inputs["input"], X.bfloat16().float().numpy())
    _prove(source, 20, tmp_path)


@pytest.mark.parametrize(
    ("given", "says"), [(X, "was given Tensor"), ({"input": X.tolist()}, "'input': list"), ((X,), "was given tuple")]
)
def test_a_predictor_that_is_called_in_another_way_says_how(given: Any, says: str) -> None:
    source = source_from_object(network(), {"input": X}, evaluate=lambda predict: predict(given) and 1.0)
    assert source.evaluate is not None
    with pytest.raises(InputError, match=says) as refused:
        source.evaluate(lambda feed: dict(feed))
    assert "'input': float32 (2, 3, 6, 6)" in refused.value.message


def test_a_predictor_takes_bfloat16() -> None:
    seen = []
    source = source_from_object(
        network(), {"input": X}, evaluate=lambda p: seen.append(p({"input": X.bfloat16()})) or 1
    )
    assert source.evaluate is not None
    source.evaluate(lambda feed: dict(feed))
    assert seen[0]["input"].dtype == np.float32


def _prove(source: Source, opset: int, directory: Path) -> Any:
    graph = capture(source, opset, directory / "model.onnx", FREE if source.dynamic else {})
    for agreement in prove_capture(source, graph, seed=0).values():
        assert agreement.sqnr_db > 100
    return graph


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (nn.Linear, r"the class Linear.*Give one of it: Linear\(...\)"),
        (nn.Linear(2, 2).state_dict(), r"an OrderedDict.*load_state_dict"),
        (lambda: torch.export.export(nn.Linear(2, 2), (torch.rand(2, 2),)), r"an ExportedProgram.*torch.export.save"),
        (torch.relu, "expected a torch.nn.Module"),
    ],
    ids=["class", "weights", "program", "function"],
)
def test_what_is_no_module_is_told_the_way_to_one(given, said):
    made = given() if getattr(given, "__name__", "") == "<lambda>" else given
    with pytest.raises(InputError) as caught:
        source_from_object(made, {"input": torch.rand(2, 2)})
    assert re.search(said, f"{caught.value.message} {caught.value.hint}", re.S)


def test_a_lazy_layer_without_weights_is_named():
    with pytest.raises(InputError, match="head has no weights yet"):
        source_from_object(nn.Sequential(OrderedDict(head=nn.LazyLinear(4))), {"input": torch.rand(2, 2)})
