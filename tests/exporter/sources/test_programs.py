"""`.pt2` files: what a program is given, how its axes are bound, what type it is in, and files that are none."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional

from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import Source, load_source, torch_predict


class Levels(nn.Module):
    """Two levels that are added: heights and widths are multiples of four."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 2, 1)
        self.deep = nn.Conv2d(8, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        level = functional.relu(self.down(x))
        return self.up(functional.relu(self.deep(level))) + level


class Scaled(nn.Module):
    """Takes a number, a mask that may be left out, and two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, times: int, mask: torch.Tensor | None, bias: torch.Tensor) -> torch.Tensor:
        result = self.linear(x) * times + 2 * bias
        return result if mask is None else result * mask


def saved(directory: Path, module: nn.Module, *arguments: Any, shapes: Any = None, **keywords: Any) -> str:
    path = str(directory / "net.pt2")
    torch.export.save(torch.export.export(module, arguments, keywords or None, dynamic_shapes=shapes), path)
    return path


def refused(path: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        load_source(str(path), trust=True)
    return f"{caught.value.message} {caught.value.hint}"


def proven(source: Source, opset: int, path: Path) -> None:
    prove_capture(source, capture(source, opset, path, source.ranges), 0)


@pytest.mark.parametrize("opset", [20, 17])
def test_axes_that_are_multiples_and_their_bounds(tmp_path: Path, opset: int) -> None:
    sides = {2: 4 * Dim("rows", min=1, max=8), 3: 4 * Dim("columns", min=1)}
    path = saved(tmp_path, Levels().eval(), torch.randn(2, 3, 16, 16), shapes={"x": {0: Dim("n"), **sides}})
    source = load_source(path, trust=True)
    # At 4 the program's own guards fail: a size of one was none of its example's.
    assert {name: str(reach) for name, reach in source.ranges.items()} == {
        "batch": "1:2:16",
        "x_axis2": "8:16:32",
        "x_axis3": "8:16:128",
    }
    proven(source, opset, tmp_path / "m.onnx")


def test_bounds_that_a_program_has_are_those_of_its_axes(tmp_path: Path) -> None:
    bounds = {0: Dim("n", min=1, max=4), 2: Dim("h", min=8, max=64), 3: Dim.AUTO}
    path = saved(tmp_path, nn.Conv2d(3, 4, 3).eval(), torch.randn(2, 3, 16, 24), shapes=(bounds,))
    source = load_source(path, trust=True)
    assert [str(reach) for reach in source.ranges.values()] == ["1:2:4", "8:16:64", "6:24:192"]
    proven(source, 20, tmp_path / "m.onnx")


def test_an_axis_that_follows_from_another_is_refused(tmp_path: Path) -> None:
    class Doubled(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return functional.interpolate(x[:, None], scale_factor=2.0)[:, 0] + y

    half = Dim("t", min=2, max=64)
    path = saved(tmp_path, Doubled(), torch.randn(2, 6), torch.randn(2, 12), shapes=({1: half}, {1: 2 * half}))
    assert re.search(r"sizes .* and .*: one follows from the other.*axes fixed", refused(path))


@pytest.mark.parametrize("opset", [20, 17])
def test_what_is_no_tensor_is_part_of_the_program(tmp_path: Path, opset: int) -> None:
    module, x, bias = Scaled().eval(), torch.randn(2, 4), torch.randn(2, 3)
    free = {0: Dim.DYNAMIC}
    path = saved(tmp_path, module, x, 3, None, shapes=(free, None, None, free), bias=bias)
    source = load_source(path, trust=True)
    assert list(source.inputs) == ["x", "bias"]
    found = torch_predict(source)({"x": np.ones((5, 4), np.float32), "bias": np.ones((5, 3), np.float32)})["output"]
    wanted = module(torch.ones(5, 4), 3, None, torch.ones(5, 3)).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    proven(source, opset, tmp_path / "m.onnx")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_program_in_another_float_type_is_widened(tmp_path: Path, dtype: torch.dtype) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8)
            self.register_buffer("table", torch.linspace(0, 1, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mask = torch.ones(8, dtype=dtype) * torch.tensor([0.5], dtype=dtype)
            return self.norm(self.conv(x)).mean(2).to(dtype) * mask + self.table

    torch.manual_seed(0)
    module, x = Masked().eval().to(dtype), torch.randn(4, 3, 10)
    path = saved(tmp_path, module, x.to(dtype), shapes=({0: Dim("n")},))
    source = load_source(path, trust=True)
    assert {tensor.dtype for tensor in source.inputs.values()} == {np.dtype(np.float32)}
    found = torch_predict(source)({"x": x.numpy()})["output"]
    rough = {torch.float16: 5e-3, torch.bfloat16: 5e-2, torch.float64: 1e-5}[dtype]
    np.testing.assert_allclose(found, module(x.to(dtype)).detach().float().numpy(), rtol=rough, atol=rough)
    proven(source, 20, tmp_path / "m.onnx")


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.Dropout(0.5)])
def test_a_program_in_training_mode_is_refused(tmp_path: Path, layer: nn.Module) -> None:
    path = saved(tmp_path, nn.Sequential(nn.Linear(4, 4), layer).train(), torch.randn(4, 4))
    assert re.search(r"in training mode: its \w+ (drops|norms).*module\.eval\(\)", refused(path))


def test_files_that_torch_wrote_and_that_are_no_program(tmp_path: Path) -> None:
    module = nn.Linear(4, 3).eval()
    torch.save(module.state_dict(), tmp_path / "weights.pt2")
    assert "holds weights only" in refused(tmp_path / "weights.pt2")
    torch.save(module, tmp_path / "whole.pt2")
    assert "holds a module or other objects, pickled whole" in refused(tmp_path / "whole.pt2")
    torch.jit.trace(module, torch.ones(1, 4)).save(str(tmp_path / "script.pt2"))
    assert "is a TorchScript program" in refused(tmp_path / "script.pt2")
    with zipfile.ZipFile(tmp_path / "compiled.pt2", "w") as archive:
        archive.writestr("net/data/aotinductor/model/net.so", "")
    assert "was compiled by AOTInductor" in refused(tmp_path / "compiled.pt2")


def test_files_that_are_damaged_or_not_there(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, nn.Linear(4, 3).eval(), torch.randn(2, 4)))
    whole = path.read_bytes()
    for name, data in (("empty", b""), ("cut", whole[: len(whole) // 2]), ("text", b"hello")):
        (tmp_path / f"{name}.pt2").write_bytes(data)
        assert "damaged or not complete" in refused(tmp_path / f"{name}.pt2")
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(tmp_path / "newer.pt2", "w") as after:
        for name in before.namelist():
            after.writestr(name, re.sub(rb'"major": ?\d+', b'"major": 99', before.read(name)))
    said = refused(tmp_path / "newer.pt2")
    assert "schema version" in said
    assert "warnings above" not in said
    (tmp_path / "directory.pt2").mkdir()
    assert "is a directory" in refused(tmp_path / "directory.pt2")
    (tmp_path / "link.pt2").symlink_to("gone.pt2")
    assert "is a link to gone.pt2, which is not there" in refused(tmp_path / "link.pt2")


def test_a_program_under_another_suffix_is_named_so(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, nn.Linear(4, 3).eval(), torch.randn(2, 4)))
    assert "Rename it to .pt2" in refused(path.rename(tmp_path / "net.pt"))
