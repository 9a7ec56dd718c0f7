"""A graph on this CPU, node by node as it is written: no kernel takes several of them together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._vendor import import_or_explain, said
from ..base import Array, Feed, Session
from .unloaded import unloaded


class AsWritten(Session):
    """onnxruntime without its optimizer.

    Optimized, it makes one kernel of weights in integers and the product with them, which rounds what it multiplies
    them by to 8 bits; that is 3 to 6 % away from what the graph says. Here weights become floats where the graph says
    so, one matrix at a time, and are dropped again.

    Args:
        threads: None leaves the runtime's own choice.

    Raises:
        InputError: onnxruntime does not load the graph.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        ort = import_or_explain("onnxruntime")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.enable_mem_pattern = False
        # Threads that spin while they wait take the processor from what is done with the values.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            raise unloaded(path, said(error)) from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """All outputs for a feed."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(feed)), strict=True))

    def close(self) -> None:
        """Drop the session."""
        self._session = None
