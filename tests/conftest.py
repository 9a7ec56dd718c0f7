import os

# Two cores are shared by several workers; oversubscribed thread pools would make every test slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Where emulation is installed, exports for ARM64 judge there, which is slow: only tests that ask for it do.
os.environ.setdefault("EDGEPRESS_TESTED_EMULATION", os.environ.pop("EDGEPRESS_EMULATION", ""))
os.environ["EDGEPRESS_EMULATION"] = "off"

import fcntl
import gc
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


# The collector of garbage walks what lives, which are millions of objects once everything is imported, and most of what
# dies does so without it: as Python has it, it took 3 of 10 seconds (decision 116).
@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported meanwhile is there to stay; afterwards the collector comes less often."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.set_threshold(10_000)
        gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _settled() -> None:
    """What lives when a file of tests begins is not walked again, not even by who collects all, as training does."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES


@pytest.fixture
def emulated(monkeypatch):
    """ARM64 emulation, where it is installed; the environment that a command needs to find it."""
    from edgepress.backends.places import emulation

    given = {emulation.VARIABLE: os.environ["EDGEPRESS_TESTED_EMULATION"]}
    monkeypatch.setenv(emulation.VARIABLE, given[emulation.VARIABLE])
    if isinstance(why := emulation.find(), str):
        pytest.skip(f"{why}: {emulation.remedy()}")
    return given


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A directory by name that is filled once in a run: by the worker that asks first, while others wait.

    What lies there is for reading.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def filled(name: str, fill: Callable[[Path], object]) -> Path:
        directory, done = root / f"once-{name}", root / f"once-{name}.done"
        with (root / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(directory, ignore_errors=True)  # of a worker that failed at it
                directory.mkdir()
                fill(directory)
                done.touch()
        return directory

    return filled


@pytest.fixture(scope="session")
def residual_source():
    """A small residual network with every structure that placement must tell apart."""
    import torch
    from torch import nn

    from edgepress.exporter.sources import source_from_object

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(2))
            self.first = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
            self.second = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, stride=2), nn.BatchNorm2d(16))
            self.shortcut = nn.Conv2d(8, 16, 1, stride=2)
            self.head = nn.Linear(16, 5)

        def forward(self, image):
            x = self.stem(image)
            x = torch.relu(self.first(x) + x)
            x = torch.relu(self.second(x) + self.shortcut(x))
            return self.head(x.mean((2, 3)))

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    batches = [{"image": rng.normal(size=(4, 3, 16, 16)).astype(np.float32)} for _ in range(4)]
    return source_from_object(
        Residual().eval(),
        {"image": torch.randn(2, 3, 16, 16)},
        name="residual",
        dynamic={"image": {0: "batch"}},
        calibration=lambda: iter(batches),
    )


@pytest.fixture(scope="session")
def residual_graph(residual_source, tmp_path_factory):
    """The captured FP32 graph of that network, opset 20."""
    from edgepress.backends.base import AxisRange
    from edgepress.exporter.capture.capture import capture

    path = tmp_path_factory.mktemp("residual") / "model.onnx"
    return capture(residual_source, 20, path, {"batch": AxisRange(smallest=1, usual=2, largest=32)})


@pytest.fixture(scope="session")
def tracked() -> list[str]:
    """Every file of the repository, by relative path; a tree without its git history is taken as it is."""
    root = EXAMPLES.parent
    words = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(words, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and the repository's history to tell its files from what was built in it")
    return sorted(name for name in listed if name and (root / name).is_file())


@pytest.fixture(scope="session")
def wheel(tracked, tmp_path_factory, once) -> Path:
    """The wheel of this tree, built from a copy, so that nothing is written into the repository."""

    def build(out: Path) -> None:
        source = tmp_path_factory.mktemp("source")
        for name in tracked:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(EXAMPLES.parent / name, source / name)
        words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    return next(once("wheel", build).glob("*.whl"))
