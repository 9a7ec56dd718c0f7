"""Wall time and added peak memory from an FP32 file to an int8 file."""

from __future__ import annotations

from models import MODELS
from results import record
from tools import TOOLS, quantized

# (tool, model) -> the largest N that is affordable; what lies beyond is listed in docs/benchmarks.md as skipped.
LARGE = frozenset({"resnet50", "mobilenet-v2", "distilbert"})
KEEPS_ALL = ("onnxruntime-percentile", "onnxruntime-entropy", "neural-compressor")


def measure_time(models: list[str], tools: list[str], counts: list[int], repetitions: int) -> None:
    """Run every (tool, model, N) once in each repetition, the tools in turn, in reverse every other time."""
    for model in (MODELS[name] for name in models):
        model.prepare()
        for n in counts:
            able = [TOOLS[name] for name in tools if affordable(name, model.name, n)]
            failed: set[str] = set()
            for repetition in range(repetitions):
                for tool in able if repetition % 2 == 0 else reversed(able):
                    if tool.name in failed:
                        continue
                    scheme = "x86" if "x86" in tool.schemes else "tensorrt"
                    _, cost = quantized(tool, model, scheme, n)
                    failed |= {tool.name} if "error" in cost else set()
                    record("time", model=model.name, tool=tool.name, n=n, repetition=repetition, **cost)


def affordable(tool: str, model: str, n: int) -> bool:
    """Whether a run is predicted to stay within 3 minutes and the memory of a small machine."""
    if model in LARGE:
        return n <= 64
    return not (tool in KEEPS_ALL and model == "minilm" and n > 256)
