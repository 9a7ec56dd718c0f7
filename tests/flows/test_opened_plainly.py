"""An engine computes what was proven where its user opens it, plainly or by what lies beside it.

Where the processor has bf16, OpenVINO chooses it for what is float unless it is told not to.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from ._flow import SMALL, Cli, read


@pytest.fixture(scope="module")
def bundle(forked: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("plain")
    (directory / "net.py").write_text(SMALL)
    words = ("export", "net.py", "-t", "cpu", "--precision", "fp32", "--no-measure", "-q")
    ran = forked(*words, cwd=directory, temporary=directory / "temporary")
    assert ran.code == 0, ran.err
    return directory / "dist" / "net-cpu"


def test_the_loader_beside_the_engine_opens_it_as_it_was_proven(bundle: Path) -> None:
    openvino = pytest.importorskip("openvino")
    feed, expected = golden(bundle)
    compiled = runpy.run_path(str(bundle / "engine" / "load.py"))["load"]()
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert decibels(expected, compiled({"input": feed})[0]) > 100
    assert any("engine/load.py" in note and "bf16" in note for note in read(bundle)["notes"])
    assert "engine/load.py" in read(bundle, "manifest.json")["files"]


def test_opened_plainly_it_is_what_the_report_says(bundle: Path) -> None:
    """Exact where the processor has no bf16, and not where it has: what the note is there for."""
    openvino = pytest.importorskip("openvino")
    feed, expected = golden(bundle)
    plain = openvino.Core().compile_model(bundle / "engine" / "model.xml", "CPU")
    exact = plain.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    found = decibels(expected, plain({"input": feed})[0])
    assert found > 100 if exact else 25 < found < 100


def golden(bundle: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(bundle / "golden/inputs.npz") as inputs, np.load(bundle / "golden/outputs.npz") as outputs:
        return inputs["0.input"], outputs["0.output"]


def decibels(expected: np.ndarray, found: np.ndarray) -> float:
    noise = float(np.square(expected - found).sum())
    return 10 * float(np.log10(np.square(expected).sum() / max(noise, 1e-30)))
