"""One quantization in a process of its own, by the tool that the environment of this Python holds.

    python quantize.py '{"tool": "edgepress", "model": "model.onnx", "samples": "samples.npz", "out": "int8.onnx", ...}'

Reads everything into memory and imports everything first; then times the quantization alone and follows the peak of its
resident memory. Prints one JSON line. It runs in the peers' environments too, so it imports nothing of this repository
but edgepress itself, for edgepress.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Batches = list[dict[str, Any]]
MEMORY_LIMIT = 16 << 30


def edgepress(job: dict[str, Any], batches: Batches) -> None:
    """Load, place, collect, lift, write: what an export does between the float graph and the int8 graph.

    The method says how it reads the samples: `all`, or until the ranges have `settled` (an export's default), or all
    in that number of processes.
    """
    from edgepress.calibration.collect import collect
    from edgepress.calibration.feeds import checked
    from edgepress.calibration.settled import Settled
    from edgepress.calibration.workers import gathered_in_processes
    from edgepress.exporter.graphs.files import read_graph
    from edgepress.exporter.quantization.quantizer import Quantizer

    scheme = _scheme(job["target"])
    graph = read_graph(Path(job["model"]), {})
    quantizer = Quantizer.of(graph, scheme)
    observed, feeds = quantizer.placement.observed(), checked(lambda: iter(batches), graph.inputs, "samples")
    match job["method"]:
        case "settled":
            statistics = collect(graph, observed, feeds, settled=Settled(quantizer.ranges, scheme.activation))
        case "all":
            statistics = collect(graph, observed, feeds)
        case workers:
            found = gathered_in_processes(graph, observed, observed, feeds, int(workers))
            statistics = found.statistics(graph, observed)
    quantizer.write(statistics, Path(job["out"]))
    job["samples_read"] = statistics.samples


@functools.cache
def _scheme(target: str) -> Any:
    """What the peers are given as options; read from its TOML file before the clock runs."""
    from edgepress.profiles.device.target import load_target

    return load_target(target).scheme


class Reader:
    """The calibration data as onnxruntime asks for them."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self.rewind()

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rest, None)

    def rewind(self) -> None:
        self._rest: Iterator[dict[str, Any]] = iter(self._batches)


def onnxruntime(job: dict[str, Any], batches: Batches) -> None:
    """`quantize_static` with its defaults but per channel, and with the types and symmetry that the scheme wants."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    quantize_static(
        job["model"],
        job["out"],
        Reader(batches),  # type: ignore[arg-type]
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8 if job["scheme"] == "x86" else QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[job["method"]],
        calibration_providers=["CPUExecutionProvider"],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True} if job["scheme"] == "tensorrt" else {},
    )


def onnxruntime_defaults(job: dict[str, Any], batches: Batches) -> None:
    """`quantize_static` as it comes: s8, not symmetric, one scale a tensor, all operators."""
    from onnxruntime.quantization import quantize_static

    quantize_static(job["model"], job["out"], Reader(batches))  # type: ignore[arg-type]


def onnxruntime_dynamic(job: dict[str, Any], batches: Batches) -> None:
    """`quantize_dynamic`, which needs no data: the ranges of the activations are found anew in each run."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(job["model"], job["out"], per_channel=True, op_types_to_quantize=["MatMul"])


def nncf(job: dict[str, Any], batches: Batches) -> None:
    """`nncf.quantize` with its defaults, all samples, and the model type where it is a transformer."""
    import nncf as tool

    model = _load(job)
    quantized = tool.quantize(
        model,
        tool.Dataset(batches),
        target_device=tool.TargetDevice.CPU,
        subset_size=len(batches),
        model_type=tool.ModelType.TRANSFORMER if job["transformer"] else None,
    )
    if job["method"] == "onnx":
        import onnx

        onnx.save(quantized, job["out"])
    else:
        import openvino

        openvino.save_model(quantized, job["out"], compress_to_fp16=False)


def _load(job: dict[str, Any]) -> Any:
    if job["method"] == "onnx":
        import onnx

        return onnx.load(job["model"])
    import openvino

    return openvino.Core().read_model(job["model"])


def neural_compressor(job: dict[str, Any], batches: Batches) -> None:
    """Post-training static quantization in Q/DQ form, KL ranges."""
    from neural_compressor import PostTrainingQuantConfig, quantization

    class Loader:
        batch_size = len(next(iter(batches[0].values())))

        def __iter__(self) -> Iterator[tuple[Any, int]]:
            return ((batch if len(batch) > 1 else next(iter(batch.values())), 0) for batch in batches)

    config = PostTrainingQuantConfig(
        quant_format="QDQ",
        calibration_sampling_size=[job["n"]],
        op_type_dict={".*": {"activation": {"algorithm": [job["method"]]}}},
    )
    model = quantization.fit(job["model"], config, calib_dataloader=Loader())
    if model is None:
        raise RuntimeError("neural_compressor.quantization.fit returned None")
    model.save(job["out"])


def modelopt(job: dict[str, Any], batches: Batches) -> None:
    """`modelopt.onnx.quantization.quantize` to int8, on the CPU, the rest float32."""
    from modelopt.onnx.quantization import quantize

    data = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    shapes = ",".join(f"{name}:{'x'.join(map(str, array.shape))}" for name, array in batches[0].items())
    quantize(
        job["model"],
        quantize_mode="int8",
        calibration_data=data,
        calibration_method=job["method"],
        calibration_shapes=shapes,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=job["out"],
        log_level="ERROR",
    )


FAMILIES: dict[str, tuple[Callable[[dict[str, Any], Batches], None], tuple[str, ...]]] = {
    "edgepress": (
        edgepress,
        (
            "onnx_ir",
            "onnxruntime",
            "edgepress.exporter.quantization.quantizer",
            "edgepress.calibration.settled",
            "edgepress.calibration.workers",
        ),
    ),
    "onnxruntime": (onnxruntime, ("onnx", "onnxruntime.quantization")),
    "onnxruntime-defaults": (onnxruntime_defaults, ("onnx", "onnxruntime.quantization")),
    "onnxruntime-dynamic": (onnxruntime_dynamic, ("onnx", "onnxruntime.quantization")),
    "nncf": (nncf, ("nncf", "onnx", "onnxruntime", "openvino")),
    "neural-compressor": (neural_compressor, ("neural_compressor", "neural_compressor.quantization", "onnxruntime")),
    "modelopt": (modelopt, ("modelopt.onnx.quantization", "onnxruntime")),
}


def main() -> None:
    """Run the job of the command line."""
    job = json.loads(sys.argv[1])
    # An address limit, so that a tool that keeps every activation fails here and not on its neighbours.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    run, modules = FAMILIES[job["family"]]
    started = time.perf_counter()
    for module in modules:
        importlib.import_module(module)
    if job["target"]:
        _scheme(job["target"])
    imported = time.perf_counter()
    batches = _batches(job)
    before = _reset_peak()
    begun, worked = time.perf_counter(), time.process_time()
    run(job, batches)
    seconds, processor = time.perf_counter() - begun, time.process_time() - worked
    print(
        json.dumps(
            {
                "seconds": round(seconds, 4),
                "import_seconds": round(imported - started, 3),
                "added_mb": round((_status("VmHWM") - before) / 1024, 1),
                "processor_seconds": round(processor, 3),
                "samples_read": job.get("samples_read", job["n"]),
            }
        )
    )


def _batches(job: dict[str, Any]) -> Batches:
    """N samples of the pool, the same ones for every tool: a seeded choice."""
    with np.load(job["samples"]) as pool:
        arrays = {name: pool[name] for name in pool.files}
    size = len(next(iter(arrays.values())))
    chosen = np.resize(np.random.default_rng(job["seed"]).permutation(size), job["n"])
    step = job["batch"]
    rows = [chosen[start : start + step] for start in range(0, job["n"], step)]
    return [{name: np.ascontiguousarray(array[part]) for name, array in arrays.items()} for part in rows]


def _reset_peak() -> int:
    """Start the high-water mark anew from what is resident now (kB, returned)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    sys.stdout.flush()
    # The tools print as they like; the result alone goes to the standard output.
    result = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(result, "w")
    main()
    sys.stdout.flush()
