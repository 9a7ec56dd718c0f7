"""What int8 loses on made-up inputs says nothing of it, where these are next to nothing to it or the samples speak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgepress
from edgepress.backends.base import Array, Graph
from edgepress.errors import VerificationError
from edgepress.exporter.bundle.verify import verify_bundle
from edgepress.exporter.candidates.candidate import Candidate, OwnGolden
from edgepress.exporter.candidates.judge import check_golden, check_graph_golden
from edgepress.exporter.candidates.made_up import unless_made_up
from edgepress.exporter.candidates.third_link.link import StrayingError
from edgepress.exporter.capture.golden import Golden
from edgepress.exporter.quantization.judging import JudgingSamples
from edgepress.profiles.findings.parity import parity

SIZE, EDGE = 48, 16


class Finder(nn.Module):
    """1 where a whole area is bright, as no noise is; the rounding of int8, times `gain`, moves its exponent."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gain = gain
        self.lift, self.back = nn.Conv2d(3, 16, 1, bias=False), nn.Conv2d(16, 3, 1, bias=False)
        with torch.no_grad():
            self.back.weight.copy_(torch.linalg.pinv(self.lift.weight[:, :, 0, 0])[:, :, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        least = -nn.functional.max_pool2d(-x.mean(1, keepdim=True), 9, 1, 4)
        again = self.back(self.lift(x))
        return torch.sigmoid(25 * (least.clamp(min=0.25) - 0.6) + self.gain * (again - x)[:, :1])


def pictures(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Bright squares on dark noise."""
    rng = np.random.default_rng(seed)
    made = rng.normal(0, 0.1, (count, 3, SIZE, SIZE))
    for picture in made:
        for top, left in rng.integers(0, SIZE - EDGE, (3, 2)):
            picture[:, top : top + EDGE, left : left + EDGE] = 1
    return made.clip(0, 1).astype(np.float32)


def batches() -> Iterator[dict[str, Array]]:
    for seed in range(16):
        yield {"x": pictures(8, seed)}


def exported(gain: float, output: Path, example: Array | None = None) -> Path:
    made = edgepress.export(
        Finder(gain).eval(),
        {"x": torch.from_numpy(pictures(2, 99) if example is None else example)},
        target="server-cpu",
        dynamic={"x": {0: "batch"}},
        calibration=batches,
        precision="int8",
        measure=False,
        output=output,
    )
    return made.path


def said(bundle: Path) -> str:
    gaps = json.loads((bundle / "report.json").read_text())["missing"]
    return next((gap["why"] for gap in gaps if gap["subject"] == "golden"), "")


def test_it_ships_with_a_word_and_a_device_is_held_to_its_own_graph(tmp_path: Path) -> None:
    bundle = exported(35, tmp_path)
    assert "(root mean square)" in said(bundle)
    assert "held to the engine's own graph" in said(bundle)
    assert verify_bundle(bundle).parity["output"].sqnr_db < 3
    bounds = json.loads((bundle / "manifest.json").read_text())
    golden = Golden.load(bundle / "golden")
    dark = tuple({"output": np.zeros_like(answer["output"])} for answer in golden.outputs)
    check_golden(golden, dark, bounds["minimum_sqnr_db"])
    with pytest.raises(VerificationError, match=r"does not compute what model\.onnx does"):
        check_graph_golden(golden, dark, bounds["minimum_graph_db"])
    (bundle / "manifest.json").write_text(json.dumps(bounds | {"minimum_sqnr_db": -600.0}))
    with pytest.raises(VerificationError, match="nothing in int8 is exported below"):
        verify_bundle(bundle)


def test_what_is_far_off_there_ships_with_a_word_where_the_samples_are_of_one_kind_with_it(tmp_path: Path) -> None:
    bundle = exported(120, tmp_path)
    assert "unlike the samples may be answered otherwise" in said(bundle)
    assert verify_bundle(bundle).parity["output"].sqnr_db < 0


def test_an_example_of_another_kind_than_the_samples_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="golden inputs ask for"):
        exported(120, tmp_path, example=3 * pictures(2, 99) - 1)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_an_example_that_the_integers_of_the_samples_do_not_tell_from_zero_is_told(
    activation: type[nn.Module], tmp_path: Path
) -> None:
    """It ended as "manifest.json: `minimum_sqnr_db`: Input should be greater than or equal to -300", or was shipped."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = [{"x": (1e30 * rng.normal(size=(4, 16))).astype(np.float32)} for _ in range(4)]
    with pytest.raises(VerificationError, match=r"input 'x' is at most \d(\.\d+)? .* \d\.\de\+30 in the cal") as caught:
        edgepress.export(
            nn.Sequential(nn.Linear(16, 32), activation(), nn.Linear(32, 8)).eval(),
            {"x": torch.rand(4, 16)},
            target="server-cpu",
            calibration=data,
            precision="int8",
            measure=False,
            output=tmp_path,
        )
    assert "preprocess" in str(caught.value.hint) and "manifest" not in str(caught.value)


@pytest.mark.parametrize(("engine", "strays"), [(0.3, False), (0.8, True)])
def test_an_engine_that_strays_from_its_graph_there_is_told_of_as_such(engine: float, strays: bool) -> None:
    """It ended as "the bundle that was made would not verify: `minimum_sqnr_db` is -4 dB"."""
    rng = np.random.default_rng(0)
    x, right, noise = (rng.normal(size=(64, 8)).astype(np.float32) for _ in range(3))
    golden = Golden(feeds=({"x": x},), outputs=({"y": right},))
    samples = JudgingSamples(feeds=[{"x": x[::-1]}], kind="calibration samples", expected=[{"y": right}])
    candidate = Candidate(
        precision="int8",
        graph=Graph(path=Path("model.onnx"), inputs=(), outputs=(), opset=20, digest=""),
        least_db=12.0,
        on_samples=parity([{"y": right}], [{"y": right + 0.1 * noise}]),
        own_golden=OwnGolden(outputs=({"y": right + 0.2 * noise},), engine_db=10.0),
    )
    answers = ({"y": right + engine * noise},)
    if strays:
        with pytest.raises(StrayingError, match=r"its own graph does, on the golden inputs.* 1\.\d dB .*its graph 13"):
            unless_made_up(candidate, golden, answers, lambda: samples, 10.0)
    else:
        held = unless_made_up(candidate, golden, answers, lambda: samples, 10.0)
        assert held.least_db == pytest.approx(3.0)
