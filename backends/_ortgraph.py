"""The graph in an `.ort` file, written out as ONNX by the runtime that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._vendor import import_or_explain

_DATA = "session.optimized_model_external_initializers_file_name"
_LEAST = "session.optimized_model_external_initializers_min_size_in_bytes"
_SEVERITY = 4  # only what ends the process is logged


def write_ort_graph(source: Path, path: Path) -> None:
    """Write the nodes as they lie in the file, of which this runtime fuses none again; weights lie beside `path`.

    Raises:
        Exception: whatever onnxruntime raises where it does not read the file, or cannot write ONNX of it.
    """
    ort = import_or_explain("onnxruntime")
    options: Any = ort.SessionOptions()
    options.log_severity_level = _SEVERITY
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ONNX")
    options.add_session_config_entry(_DATA, f"{path.name}.data")
    options.add_session_config_entry(_LEAST, "1024")
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
