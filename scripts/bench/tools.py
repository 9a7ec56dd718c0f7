"""The tools of the comparison, and how one of them is run on a model: always in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import HOME, Model

TIME_LIMIT = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A way to make an int8 file.

    Attributes:
        family: what quantize.py calls it.
        environment: its directory under .bench; none where it runs in the project's own.
        method: the tool's own setting of ranges, or the format it works on.
        schemes: the schemes it can write: `x86` u8/s8, `arm` s8 asymmetric, `tensorrt` s8 symmetric.
        runtime: the only runtime that reads its files; empty where any does.
        target: for edgepress, the target for each scheme.
    """

    name: str
    family: str
    environment: str = ""
    method: str = ""
    schemes: tuple[str, ...] = ("x86",)
    runtime: str = ""
    target: dict[str, str] | None = None

    @property
    def python(self) -> str:
        return str(HOME / self.environment / "bin" / "python") if self.environment else sys.executable

    def reads(self, runtime: str) -> bool:
        return self.runtime in ("", runtime)


_EVERY = ("x86", "arm", "tensorrt")
_TARGETS = {"x86": "server-cpu", "arm": "rpi5", "tensorrt": "rtx"}
TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            name="edgepress", family="edgepress", method="all", schemes=_EVERY, runtime="onnxruntime", target=_TARGETS
        ),
        Tool(name="edgepress-settled", family="edgepress", method="settled", runtime="onnxruntime", target=_TARGETS),
        Tool(name="edgepress-1-worker", family="edgepress", method="1", runtime="onnxruntime", target=_TARGETS),
        Tool(name="edgepress-4-workers", family="edgepress", method="4", runtime="onnxruntime", target=_TARGETS),
        Tool(name="edgepress-openvino", family="edgepress", method="all", runtime="openvino", target={"x86": "cpu"}),
        Tool(name="onnxruntime-minmax", family="onnxruntime", method="MinMax", schemes=_EVERY),
        Tool(name="onnxruntime-percentile", family="onnxruntime", method="Percentile", schemes=_EVERY),
        Tool(name="onnxruntime-entropy", family="onnxruntime", method="Entropy", schemes=_EVERY),
        Tool(name="onnxruntime-dynamic", family="onnxruntime-dynamic", runtime="onnxruntime"),
        Tool(name="nncf-onnx", family="nncf", environment="nncf", method="onnx"),
        Tool(name="nncf-openvino", family="nncf", environment="nncf", method="openvino", runtime="openvino"),
        Tool(name="neural-compressor", family="neural-compressor", environment="neural-compressor", method="kl"),
        Tool(
            name="modelopt-entropy",
            family="modelopt",
            environment="modelopt",
            method="entropy",
            schemes=("tensorrt",),
        ),
        Tool(name="modelopt-max", family="modelopt", environment="modelopt", method="max", schemes=("tensorrt",)),
    )
}


def quantized(tool: Tool, model: Model, scheme: str, n: int, seed: int = 0) -> tuple[Path, dict[str, Any]]:
    """The int8 file of one run, and what it cost; `error` instead of the cost where the tool failed."""
    suffix = "xml" if tool.method == "openvino" else "onnx"
    out = HOME / "out" / f"{model.name}-{tool.name}-{scheme}-{n}-{seed}" / f"model.{suffix}"
    out.parent.mkdir(parents=True, exist_ok=True)
    job = {
        "family": tool.family,
        "method": tool.method,
        "model": str(model.onnx),
        "samples": str(model.pool),
        "out": str(out),
        "scheme": scheme,
        "target": (tool.target or {}).get(scheme),
        "transformer": model.transformer,
        "n": n,
        "seed": seed,
        "batch": model.batch,
    }
    command = [tool.python, str(Path(__file__).with_name("quantize.py")), json.dumps(job)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, cwd=out.parent)
    except subprocess.TimeoutExpired:
        return out, {"error": f"longer than {TIME_LIMIT} s"}
    (out.parent / "log.txt").write_text(done.stderr)
    if done.returncode:
        return out, {"error": _last_line(done.stderr) or f"exit status {done.returncode}"}
    return out, json.loads(done.stdout.strip().splitlines()[-1])


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
