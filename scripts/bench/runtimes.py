"""Open an FP32 or int8 file in a runtime, as a function from a feed to the outputs by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Feed = Mapping[str, NDArray[Any]]
Run = Callable[[Feed], dict[str, NDArray[Any]]]


def on_onnxruntime(path: Path, threads: int = 0) -> Run:
    """A session on the CPU whose waiting threads do not spin; 0 threads: the runtime's own choice."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, dict(feed)), strict=True))


def on_openvino(path: Path, precision: str = "f32", threads: int = 0) -> Run:
    """A compiled model on the CPU; `precision` is INFERENCE_PRECISION_HINT, empty or 0 for the runtime's own choice."""
    import openvino

    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    properties |= {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    compiled = openvino.Core().compile_model(path, "CPU", properties)
    names = [output.get_any_name() for output in compiled.outputs]
    request = compiled.create_infer_request()

    def run(feed: Feed) -> dict[str, NDArray[Any]]:
        request.infer(dict(feed))
        return {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(names)}

    return run


def opened(runtime: str, path: Path) -> Run:
    """The file in one of the two runtimes; float arithmetic in float32."""
    return on_onnxruntime(path) if runtime == "onnxruntime" else on_openvino(path)
