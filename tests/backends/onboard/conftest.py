"""A bundle as a device has it, and stand-ins for the GPU and for TensorRT, which say that they are such."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepress.backends.tensorrt import TensorRt
from edgepress.exporter.capture.golden import Golden

from .._tensorrt import WEAK, jetson, residual
from ._program import STANDINS, listed, started


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of an int8 bundle as the program reads."""
    (root := tmp_path_factory.mktemp("made") / "bundle").mkdir()
    graph = residual(root / "model.onnx", True)
    rng = np.random.default_rng(3)
    feeds = tuple({"x": rng.normal(0, 0.4, (batch, 8, 16, 16)).astype(np.float32)} for batch in (1, 3))
    outputs = tuple({"y": _answer(root / "model.onnx", feed)} for feed in feeds)
    Golden(feeds=feeds, outputs=outputs, graph=outputs).save(root / "golden")
    (root / "engine").mkdir()
    for name, text in TensorRt().recipe_files(graph, jetson(flags=WEAK), "int8").items():
        (root / "engine" / name).write_text(text)
    listed(root)
    return root


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "a bundle"))


def _answer(path: Path, feed: dict[str, np.ndarray]) -> np.ndarray:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["y"], feed)[0]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a libcuda.so.1 that is none."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    directory = tmp_path_factory.mktemp("driver")
    library = directory / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, STANDINS / "standin_cuda.c"], check=True)
    return directory


@pytest.fixture
def device(bundle: Path, driver: Path, tmp_path: Path) -> Callable[..., Any]:
    """Runs the program of the bundle with the module of a release."""

    def run(
        release: str, *words: str, script: str = "build.py", environment: Any = None, given: str = "", **world: Any
    ) -> Any:
        (place := tmp_path / "python").mkdir(exist_ok=True)
        (place / "tensorrt.py").write_text(
            f"import sys; sys.path.append({str(STANDINS)!r}); import _standin\n"
            f"sys.modules[__name__] = _standin.module({release!r}, _standin.World(**{world!r}))\n"
        )
        found = {"LD_LIBRARY_PATH": str(driver), "PYTHONPATH": str(place), **(environment or {})}
        return started(bundle, *words, environment=found, script=script, given=given)

    return run
