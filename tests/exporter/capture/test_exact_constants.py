"""What is added so that a logarithm or a quotient stays finite is no zero, however small."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import edgepress

SMALL = (1e-7, 1e-9, 1e-10, 1e-12)


class Guarded(nn.Module):
    """Finite where the input is silent."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        parts: list[torch.Tensor] = []
        for small in SMALL:
            parts += [torch.log(x * x + small), x / (small + (x * x).sum(1, keepdim=True)), (x * x - small).log2()]
        return (*parts[:2], torch.cat(parts[::3], 1), torch.cat(parts[1::3], 1), x * 1.00002)


def answers(bundle: Path, x: Any) -> list[Any]:
    """Of the engine, as its runtime's manual opens it."""
    path = next(file for file in (bundle / "engine").iterdir() if file.suffix in {".xml", ".onnx", ".ort"})
    if path.suffix != ".xml":
        return onnxruntime.InferenceSession(str(path)).run(None, {"x": x})
    loader = path.with_name("load.py")
    if loader.exists():
        compiled = runpy.run_path(str(loader))["load"]()
    else:
        import openvino

        compiled = openvino.Core().compile_model(path, "CPU")
    return list(compiled({"x": x}).to_tuple())


@pytest.mark.parametrize("target", ["cpu", "server-cpu", "mobile"])
@pytest.mark.parametrize("kind", ["module", "file"])
def test_a_small_constant_is_added(tmp_path: Path, target: str, kind: str) -> None:
    model, example = Guarded(), torch.randn(2, 8, generator=torch.Generator().manual_seed(0)) + 3
    source: Any = model
    if kind == "file":
        source = tmp_path / "guarded.onnx"
        torch.onnx.export(model, (example,), source, input_names=["x"], dynamo=False, opset_version=17, verbose=False)
    inputs = {} if kind == "file" else {"inputs": {"x": example}}
    options = {"target": target, "precision": "fp32", "measure": False, "output": tmp_path / "made"}
    bundle = edgepress.export(source, **inputs, **options)
    silent = np.zeros((2, 8), np.float32)
    silent[0, 0] = 1e-4
    right = model(torch.from_numpy(silent))
    for wanted, got in zip(right, answers(bundle.path, silent), strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-6)
