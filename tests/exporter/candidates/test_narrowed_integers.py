"""Identifiers and hashes of more than 32 bits on OpenVINO, which computes them in 32."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import edgepress
from edgepress.errors import VerificationError
from edgepress.exporter.candidates.third_link.link import StrayingError
from edgepress.exporter.candidates.third_link.narrowed_integers import of_narrowed
from edgepress.profiles.device.target import load_target

pytest.importorskip("openvino")


class Hashed(torch.nn.Module):
    """A table that identifiers are spread over; `factor`: by which they are multiplied before the remainder."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.factor, self.table, self.head = factor, torch.nn.Embedding(61, 16), torch.nn.Linear(16, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.table((ids * self.factor) % 61).mean(1))


def exported(net: Hashed, most: int, directory: Path, target: str) -> edgepress.Bundle:
    rng = np.random.default_rng(0)
    batches = [{"ids": rng.integers(most // 2, most, (8, 3))} for _ in range(8)]
    return edgepress.export(
        net.eval(),
        {"ids": torch.from_numpy(batches[0]["ids"][:2])},
        target=target,
        dynamic={"ids": {0: "batch"}},
        calibration=batches,
        measure=False,
        output=directory,
        precision="fp32",
    )


@pytest.mark.parametrize(
    ("factor", "most", "told"),
    [
        (1, 2**41, "input 'ids' has "),
        (40_503, 2**28, "(Mul) has "),
        (2_654_435_761, 2**20, "has 2654435761"),
    ],
)
def test_whole_numbers_that_the_runtime_does_not_hold_are_named(
    factor: int, most: int, told: str, tmp_path: Path
) -> None:
    with pytest.raises(VerificationError) as error:
        exported(Hashed(factor), most, tmp_path, "cpu")
    assert "openvino-2026.4 computes int64 in int32" in error.value.message
    assert told in error.value.message
    assert error.value.hint is not None and "--precision" not in error.value.hint


def test_those_that_it_holds_ship(tmp_path: Path) -> None:
    assert exported(Hashed(40_503), 2**15, tmp_path, "cpu").manifest.engine.precision == "fp32"


class Apart(torch.nn.Module):
    """Logarithms of distances as whole numbers, of which those of 0 are left out, as in buckets of positions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        far = torch.log(x).long() + 4
        return torch.where(x < 1, 0, far).float()


def test_an_infinity_that_is_left_out_is_not_to_blame(tmp_path: Path) -> None:
    x = np.array([[0, 1, 9]], np.float32)
    bundle = edgepress.export(Apart(), {"x": torch.from_numpy(x)}, target="server-cpu", measure=False, output=tmp_path)
    strayed = StrayingError(SimpleNamespace(graph=SimpleNamespace(path=bundle.path / "model.onnx")), "It strays.")  # type: ignore[arg-type]
    assert of_narrowed(strayed, [{"x": x}], load_target("cpu")) is None


def test_another_runtime_holds_all(tmp_path: Path) -> None:
    assert exported(Hashed(2_654_435_761), 2**20, tmp_path, "server-cpu").manifest.engine.precision == "fp32"
