"""Latency of int8 files at batch 1, all in one process a runtime, in turn, slice by slice."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from models import MODELS, Model
from results import record
from runtimes import on_onnxruntime, on_openvino
from tools import TOOLS, quantized

from edgepress.backends.base import Engine
from edgepress.backends.onnxruntime import OnnxRuntime
from edgepress.backends.openvino import OpenVino
from edgepress.exporter.graphs.files import read_graph
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.layers import coverage
from edgepress.profiles.timing.measure import Settings, measure
from edgepress.profiles.timing.ratio import speedup

OURS = {"onnxruntime": "edgepress", "openvino": "edgepress-openvino"}


def measure_latency(models: list[str], tools: list[str], n: int, seconds: float, threads: int) -> None:
    """Measure edgepress's file, each peer's and FP32 on both runtimes."""
    for model in (MODELS[name] for name in models):
        model.prepare()
        files = _files(model, tools, n)
        for runtime in OURS:
            readable = {name: path for name, path in files.items() if TOOLS[name].reads(runtime)}
            measured_in_turn(model, runtime, readable, threads, seconds)


def measured_in_turn(
    model: Model, runtime: str, files: Mapping[str, Path], threads: int, seconds: float, precision: str = ""
) -> None:
    """Measure and record these files and FP32 on one runtime, for so many seconds each.

    Args:
        precision: of what is float in the int8 files on OpenVINO; its own choice where none is given.
    """
    settings = Settings(warmup_seconds=0.5, seconds=seconds, samples=100, cap=1.0, slice_seconds=0.15)
    calls = _arms(runtime, model, files, _one_sample(model), threads, precision)
    _report(runtime, model, measure(calls, settings), files, threads)


def _files(model: Model, tools: list[str], n: int) -> dict[str, Path]:
    files = {}
    for tool in (TOOLS[name] for name in tools):
        scheme = "x86" if "x86" in tool.schemes else "tensorrt"
        path, cost = quantized(tool, model, scheme, n)
        if "error" in cost:
            record("latency", model=model.name, tool=tool.name, error=cost["error"])
        else:
            files[tool.name] = path
    return files


def _one_sample(model: Model) -> dict[str, Any]:
    with np.load(model.pool) as pool:
        return {name: pool[name][:1] for name in pool.files}


def _arms(
    runtime: str, model: Model, files: Mapping[str, Path], feed: dict[str, Any], threads: int, precision: str
) -> dict[str, Callable[[], object]]:
    """One callable an arm; OpenVINO runs FP32 both in float32 and in what it chooses (bf16 where there is AMX)."""
    arms: dict[str, Callable[[], object]] = {}
    if runtime == "onnxruntime":
        opens = {"fp32": lambda: on_onnxruntime(model.onnx, threads)}
        opens |= {name: lambda path=path: on_onnxruntime(path, threads) for name, path in files.items()}
    else:
        opens = {
            "fp32": lambda: on_openvino(model.onnx, threads=threads),
            "fp32-default": lambda: on_openvino(model.onnx, "", threads),
        }
        opens |= {name: lambda path=path: on_openvino(path, precision, threads) for name, path in files.items()}
    for name, make in opens.items():
        try:
            run = make()
            run(feed)
        except Exception as error:  # a runtime that refuses a tool's file is a result of the benchmark
            record("latency", model=model.name, tool=name, runtime=runtime, error=str(error)[:200])
            continue
        arms[name] = lambda run=run: run(feed)
    return arms


def _report(runtime: str, model: Model, measured: Mapping[str, Any], files: Mapping[str, Path], threads: int) -> None:
    ours = measured.get(OURS[runtime])
    for name, arm in measured.items():
        fields: dict[str, Any] = {
            "median_ms": round(float(np.median(arm.samples)) / 1e6, 4),
            "samples": len(arm.samples),
            "load": round(os.getloadavg()[0], 1),
        }
        if ours is not None and name != OURS[runtime]:
            r = speedup(arm, ours)
            fields["ours_faster"] = [round(x, 3) for x in (r.value, r.low, r.high)]
        if name in files and files[name].suffix == ".onnx":
            fields["coverage"] = _coverage(runtime, files[name], model)
        record("latency", model=model.name, tool=name, runtime=runtime, threads=threads, **fields)


def _coverage(runtime: str, path: Path, model: Model) -> str:
    """Compute layers with integer kernels, as the runtime itself reports them."""
    backend, target = (OnnxRuntime(), "server-cpu") if runtime == "onnxruntime" else (OpenVino(), "cpu")
    graph = read_graph(path, {})
    try:
        with tempfile.TemporaryDirectory() as scratch:
            engine: Engine = backend.compile(graph, load_target(target), Path(scratch), "int8")
            found = coverage(backend.inspect(engine, _one_sample(model)))
            return f"{found.integer}/{found.total}"
    except Exception as error:  # the file of a peer need not be one that edgepress can describe
        return f"unknown ({type(error).__name__})"
