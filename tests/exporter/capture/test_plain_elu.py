from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgepress import export
from edgepress.backends.places import Local
from edgepress.profiles.device.target import load_target


@pytest.mark.parametrize(("target", "precision"), [("server-cpu", "fp32"), ("rtx", "fp16")])
def test_a_celu_is_an_elu_of_what_its_alpha_divides(tmp_path: Path, target: str, precision: str) -> None:
    if why := Local().why_not_built(load_target(target)):
        pytest.skip(why)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.CELU(), nn.Conv2d(8, 8, 3), nn.CELU(0.5)).eval()
    x = torch.randn(4, 3, 12, 12)
    bundle = export(
        module, {"x": x[:2]}, target=target, precision=precision, output=tmp_path, name="celu", measure=False,
        dynamic={"x": {0: "batch"}}, calibration=[{"x": x.numpy()}],
    )  # fmt: skip
    kinds = [node.op_type for node in onnx.load(bundle.graph.path).graph.node]
    assert "Celu" not in kinds and kinds.count("Elu") == 2
    if precision == "fp32":
        got = onnxruntime.InferenceSession(bundle.graph.path).run(None, {"x": x.numpy()})[0]
        assert np.allclose(got, module(x).detach().numpy(), atol=1e-5)
