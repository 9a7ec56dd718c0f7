"""A runtime that executes any ONNX graph on any host: it answers where the engine itself cannot run."""

from __future__ import annotations

from ...profiles.device.target import Precision
from ..base import Backend, Engine, Graph
from ..registry import load_backend

EMULATOR = "onnxruntime"


def emulator() -> Backend:
    """The backend that emulates."""
    return load_backend(EMULATOR)


def emulated(graph: Graph, precision: Precision = "fp32") -> Engine:
    """The graph itself as an engine of the emulator."""
    return Engine(path=graph.path, backend=EMULATOR, precision=precision, inputs=graph.inputs, outputs=graph.outputs)
