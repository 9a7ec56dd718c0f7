"""Held-out accuracy of int8 files: signal to noise against FP32, cosine, and the example's own metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from models import MODELS, Model, example
from numpy.typing import NDArray
from results import record
from runtimes import Run, opened
from tools import TOOLS, quantized

Outputs = list[NDArray[Any]]


def measure_accuracy(models: list[str], tools: list[str], n: int, schemes: list[str], seeds: int) -> None:
    """Quantize with several calibration subsets, and evaluate each file on the runtimes that read it."""
    for model in (MODELS[name] for name in models if MODELS[name].trained):
        model.prepare()
        evaluate = example(model.name).evaluate
        references: dict[str, tuple[float, Outputs]] = {}
        for scheme in schemes:
            for tool in (TOOLS[name] for name in tools if scheme in TOOLS[name].schemes):
                for seed in range(seeds):
                    key = {"model": model.name, "tool": tool.name, "scheme": scheme, "n": n, "seed": seed}
                    path, cost = quantized(tool, model, scheme, n, seed)
                    if "error" in cost:
                        record("accuracy", **key, error=cost["error"])
                        continue
                    for runtime in ("onnxruntime", "openvino"):
                        if tool.reads(runtime) and (scheme == "x86" or runtime == "onnxruntime"):
                            reference = references.setdefault(runtime, _reference(runtime, model, evaluate))
                            _judge(key, runtime, path, evaluate, *reference)


def _reference(runtime: str, model: Model, evaluate: Callable[[Run], float]) -> tuple[float, Outputs]:
    return _evaluated(opened(runtime, model.onnx), evaluate)


def _judge(
    key: dict[str, Any],
    runtime: str,
    path: Path,
    evaluate: Callable[[Run], float],
    reference: float,
    expected: Outputs,
) -> None:
    try:
        metric, found = _evaluated(opened(runtime, path), evaluate)
    except Exception as error:  # a runtime that refuses a tool's file is a result of the benchmark
        record("accuracy", **key, runtime=runtime, error=f"{type(error).__name__}: {str(error)[:200]}")
        return
    record("accuracy", **key, runtime=runtime, metric=metric, fp32=reference, **agreement(expected, found))


def _evaluated(run: Run, evaluate: Callable[[Run], float]) -> tuple[float, Outputs]:
    """The metric, and the first output of each batch, in order."""
    outputs: Outputs = []

    def predict(feed: Any) -> Any:
        found = run(feed)
        outputs.append(np.asarray(next(iter(found.values())), np.float64))
        return found

    return float(evaluate(predict)), outputs


def agreement(expected: Outputs, found: Outputs) -> dict[str, float]:
    """SQNR in dB over all outputs together, and the mean cosine of the samples."""
    a, b = np.concatenate(expected), np.concatenate(found)
    noise = float(np.square(a - b).sum())
    cosine = (a * b).sum(axis=1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-30)
    return {
        "sqnr_db": round(10 * float(np.log10(np.square(a).sum() / max(noise, 1e-30))), 3),
        "cosine": round(float(cosine.mean()), 6),
    }
