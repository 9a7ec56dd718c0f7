"""What the flows share: the targets, a small model file, and how a command line is run and judged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EDGEPRESS = Path(sys.executable).with_name("edgepress")
# The names users type, and the names of the bundles they get.
TARGETS = {
    "cpu": "cpu",
    "server-cpu": "server-cpu",
    "mobile": "android-arm64",
    "rpi5": "rpi5",
    "rtx": "rtx",
    "jetson": "jetson-orin-nano-8gb",
}

# TensorRT-RTX plans for the largest batch; 16 times DistilBERT's example needs more memory than it takes without a GPU.
OPTIONS = {"classics/distilbert": ("--axis", "batch=1:16:32")}

# A process that has imported torch and friends once; each command line runs in a fork of it, through the same `main`
# that the installed script calls. What an import costs is not what these tests are about.
FORKING = """
import gc, json, os, pathlib, resource, sys, tempfile

gc.disable()  # what comes now stays
import torch, torch.export, onnxscript  # and no runtime: some start threads, which do not survive a fork
import edgepress.exporter.pipeline, edgepress.exporter.sources, rich.progress
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast  # they load what any decoder needs
from edgepress.exporter.capture.from_torch.torch_to_onnx import exported

# One small export loads all that torch and onnxscript load at their first.
with tempfile.TemporaryDirectory() as scratch:
    first = edgepress.exporter.sources.source_from_object(
        torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.Flatten(), torch.nn.Linear(4, 1)), torch.ones(2, 1, 2, 2)
    )
    exported(first, 20, pathlib.Path(scratch))

gc.freeze()
gc.set_threshold(10_000)
gc.enable()
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(job["cwd"])
        os.environ.update(job["env"])
        sys.path[:0] = [path for path in job["env"].get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
        tempfile.tempdir = None
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if job["file_size"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
        sys.argv = ["edgepress", *job["arguments"]]
        from edgepress.exporter.cli import main
        try:
            main()
        except SystemExit as end:  # not the interpreter's own long way out
            sys.stdout.flush()
            os._exit(end.code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    def failed(self, code: int, *words: str) -> None:
        """It ended with this code and one message that holds the words, and ours is no traceback."""
        assert self.code == code, self.err
        assert [line for line in self.err.splitlines() if line.startswith("error: ")] == self.err.splitlines()[:1]
        for word in words:
            assert word in self.err, f"{word!r} is not in: {self.err}"
        assert "edgepress/exporter" not in self.err, self.err
        assert "/exporter/" not in self.err, self.err


Cli = Callable[..., Ran]
Exported = Callable[[str], dict[str, Path]]
Once = Callable[[str, Callable[[Path], object]], Path]

# Of the encrypted key of the fixture `keys`.
PASSPHRASE = {"EDGEPRESS_PASSPHRASE": "open sesame"}


SMALL = """
import numpy as np
import torch
from torch import nn


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))


def inputs():
    return {"input": torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))}


def dynamic():
    return {"input": {0: "batch"}}


def batch(index):
    return np.random.default_rng(index).random((4, 1, 8, 8), dtype=np.float32)


def calibration():
    for index in range(4):
        yield {"input": batch(index)}
"""


def read(bundle: Path, name: str = "report.json") -> dict[str, Any]:
    data: dict[str, Any] = json.loads((bundle / name).read_text())
    return data


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below the directory, by relative path."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def with_other_answers(bundle: Path) -> None:
    """Golden outputs of other weights, with their hashes entered."""
    import numpy as np

    from edgepress.exporter.bundle.manifest import sha256

    path, manifest = bundle / "golden" / "outputs.npz", read(bundle, "manifest.json")
    with np.load(path) as file:
        arrays = {name: -file[name] for name in file.files}
    np.savez(path, **arrays)
    manifest["files"]["golden/outputs.npz"] = {"sha256": sha256(path), "size": path.stat().st_size}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


# One recurrent layer, which onnxruntime has an integer kernel of its own for, and a product.
SPOTTER = """
import numpy as np
import torch
from torch import nn


class Spotter(nn.Module):
    def __init__(self):
        super().__init__()
        self.over, self.out = nn.LSTM(16, 32, batch_first=True), nn.Linear(32, 5)

    def forward(self, x):
        return self.out(self.over(x)[0])


def model():
    torch.manual_seed(0)
    return Spotter()


def batch(index, samples=4):
    return {"x": np.random.default_rng(index).normal(size=(samples, 12, 16)).astype(np.float32)}


def inputs():
    return {"x": torch.from_numpy(batch(99, 2)["x"])}


def dynamic():
    return {"x": {0: "batch", 1: "time"}}


def calibration():
    return (batch(index) for index in range(4))
"""

# Only what the base install and a runtime bring may be imported.
WITHOUT_THE_HOST = """
import sys

ABSENT = {"torch", "onnx", "onnx_ir", "onnxscript", "transformers", "safetensors", "sklearn"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(f"{name} is not on a device")

sys.meta_path.insert(0, Absent())
from edgepress.exporter.cli import main
main()
"""
