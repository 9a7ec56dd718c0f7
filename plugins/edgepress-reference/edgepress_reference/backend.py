"""The reference evaluator of the onnx package: it computes each operator in numpy as ONNX defines it.

An example for authors. It compiles nothing: its engine is the graph, as for any runtime that reads ONNX itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgepress.backends.authoring import availability, copy_graph, fit, import_or_explain, read_nodes, refusal
from edgepress.backends.base import Array, Availability, Backend, Engine, Feed, Graph, Rejection, Session
from edgepress.errors import InputError
from edgepress.profiles.device.precision import PrecisionName
from edgepress.profiles.device.target import Target
from edgepress.profiles.findings.layers import Layer

COMPUTE = frozenset({"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})


class OnnxReference(Backend):
    """Ships `model.onnx`."""

    name = "onnx-reference"
    modules = ("onnx",)  # what `open` imports: a machine that lacks it is told so
    packages = ("onnx",)  # whose version decides what it computes

    def available(self) -> Availability:
        """Both abilities come with the package; what is asked for here must never raise, nor import it."""
        return availability("onnx", ("onnx",), "edgepress-reference")

    def _check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        """The evaluator's own word; where a runtime names nodes, a rejection for each, so that all can be mended."""
        try:
            _evaluator(graph.path)
        except InputError as error:
            return (Rejection(node=graph.path.name, reason=error.message),)
        return ()

    def _compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        """`directory` is empty, and everything in it ships. The engine's inputs and outputs are the graph's."""
        if rejections := self._check(graph, target):
            raise refusal(self.name, graph, rejections)
        path = directory / "model.onnx"
        copy_graph(graph.path, path)
        return Engine.of(graph, path, self.name, target, precision)

    def _open(self, engine: Engine, threads: int | None) -> Session:
        return ReferenceSession(engine)

    def _inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        """What ran: of a runtime that fuses, its own layers. Coverage counts `integer`, so it is never a guess."""
        fit(engine.inputs, feed)
        return tuple(
            Layer(
                name=node.label,
                operator=node.operator,
                kernel=f"onnx.reference:{node.operator}",
                compute=node.operator in COMPUTE,
                integer=False,
            )
            for node in read_nodes(engine.path)
        )


class ReferenceSession(Session):
    """An evaluator."""

    def __init__(self, engine: Engine) -> None:
        self._names = [spec.name for spec in engine.outputs]
        self._engine, self._run = engine, _evaluator(engine.path).run

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """`fit` refuses what the engine does not take; results are new arrays, the caller's."""
        fit(self._engine.inputs, feed)
        return dict(zip(self._names, self._run(self._names, dict(feed)), strict=True))

    def bind(self, feed: Feed) -> Callable[[], object]:
        """What is timed refuses what does not fit as a call does, and before it is timed."""
        fit(self._engine.inputs, feed)
        return super().bind(feed)


def _evaluator(path: Path) -> Any:
    """Whatever a runtime raises becomes an error that names the file.

    Raises:
        InputError: onnx does not open it.
    """
    read_nodes(path)  # protobuf takes a file that was cut between two fields for a whole one
    evaluator = import_or_explain("onnx.reference").ReferenceEvaluator
    try:
        return evaluator(str(path))
    except Exception as error:  # protobuf, onnx and numpy raise a dozen kinds without a base of their own
        said = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"onnx does not open {path.name}: {said}", hint="Copy the engine again.") from error
