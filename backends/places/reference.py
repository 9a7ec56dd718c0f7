"""The graph itself, on this CPU: it answers for an engine that cannot run here, and shows every value inside.

The runtime is onnxruntime, which executes any ONNX graph on any host. Values inside a graph become outputs without
another copy of its weights: serialized protocol buffers that are written one after the other are merged, repeated
fields appended (Protocol Buffers, "Encoding", Last One Wins), so that a few bytes behind the file name more outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.machine.environment import this_machine
from .._exact import WITHOUT, crashing, exactly, unfused
from .._fed_back import FedBack
from .._vendor import import_or_explain, said
from ..base import Array, Engine, Feed, Graph, Session
from ..decoding import Decoding
from ..registry import load_backend
from .as_written import AsWritten
from .base import Fidelity, Place
from .local import Local
from .unloaded import unloaded

RUNTIME = "onnxruntime"
# Field numbers of onnx.proto: ModelProto.graph, GraphProto.output, ValueInfoProto.name.
_GRAPH, _OUTPUT, _NAME = 7, 12, 1
# Integer kernels whose sums are exact on every processor; float ones, which round as ONNX defines it and keep weights
# dequantized; or what the file opens with plainly, as not every file of others bears what makes sums exact, with each
# node as it is written or not.
Kernels: TypeAlias = Literal["exact", "float", "plain", "as written"]
_PLAIN = ("plain", "as written")


class Reference(Place):
    """The graph that an engine is compiled from, on another runtime: function and accuracy, never a latency."""

    name = "reference"
    itself = False
    order = 100

    def why_not(self, target: Target) -> str:
        """Why onnxruntime does not run on this machine."""
        here = load_backend(RUNTIME).available()
        return "" if here.run else here.reason

    def evidence(self, target: Target) -> Fidelity:
        """Never what the device does."""
        return "emulated"

    def why_unmeasured(self, target: Target) -> str:
        """Why the engine itself is not measured on this machine."""
        return Local().why_unmeasured(target) or "only its graph was run"

    def how(self, target: Target) -> str:
        """What ran, in words."""
        return f"model.onnx run by {RUNTIME}, not the engine"

    def tool(self, target: Target) -> str:
        """The runtime's version."""
        return load_backend(RUNTIME).available().version

    def runs(self, graph: Graph, target: Target, precision: PrecisionName, built: Engine | None) -> Engine:
        """The graph as an engine, whose integers add up as ONNX defines it whatever processor this is."""
        told = replace(target, options={"integers": _integers(target)})
        return Engine.of(graph, graph.path, RUNTIME, told, precision)

    def open(self, engine: Engine, threads: int | None = None) -> Session:
        """Open a graph of `runs`."""
        return load_backend(RUNTIME).open(engine, threads)

    def decode(self, engine: Engine, threads: int | None = None) -> Decoding:
        """Open the graph of a decoder, of `runs`; each node is computed as ONNX defines it."""
        return FedBack(AsWritten(engine.path, threads), engine.inputs)

    def stand_in(self, target: Target) -> Target:
        """The target with the reference's runtime in place of its own."""
        return replace(target, backend=RUNTIME, options={})

    def values(
        self, path: Path, inner: Sequence[str] = (), threads: int | None = None, kernels: Kernels = "exact"
    ) -> GraphValues:
        """The graph of a file with values inside it exposed.

        Args:
            inner: names of values that are no outputs of the graph, all of which it has.
            threads: None leaves the runtime's own choice.
            kernels: what computes where the graph rounds.

        Raises:
            InputError: onnxruntime does not load the graph.
        """
        return GraphValues(path, inner, threads, kernels)


def _integers(target: Target) -> str:
    """How a target's integers are computed here.

    x86 has hardly a kernel for signed activations: between them nearly all is float anyway, and takes less time where
    weights become floats once, when the graph is opened.
    """
    signed = target.scheme is not None and target.scheme.activation.signed
    return "none" if signed and this_machine().arch == "x86_64" else "exact"


class GraphValues:
    """An open graph that is asked for any of its values; the file may be deleted once it is open."""

    def __init__(
        self, path: Path, inner: Sequence[str] = (), threads: int | None = None, kernels: Kernels = "exact"
    ) -> None:
        """Open it, sparing with memory: no plan of the first batch's, and values are freed as early as can be."""
        ort = import_or_explain("onnxruntime")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.enable_mem_pattern = False
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        # Threads that spin while they wait would take the processor from what is done with the values.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if kernels == "float":
            unfused(options)
        if kernels == "as written":
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if threads is not None:
            options.intra_op_num_threads = threads
        model: Any = str(path)
        if inner:
            model = with_inner_outputs(path, inner)
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(path.parent.resolve())
            )
        try:
            opened = partial(_opened, ort, model, (*crashing(path), *WITHOUT))
            self._session: Any = opened(options) if kernels in _PLAIN else exactly(opened, options)
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            raise unloaded(path, said(error)) from error
        self.outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, feed: Feed, names: Sequence[str] | None = None) -> dict[str, Array]:
        """The named values for a feed; by default all that are exposed."""
        wanted = self.outputs if names is None else list(names)
        return dict(zip(wanted, self._session.run(wanted, dict(feed)), strict=True)) if wanted else {}

    def close(self) -> None:
        """Drop the session."""
        self._session = None

    def __enter__(self) -> GraphValues:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def _opened(ort: Any, model: Any, disabled: Sequence[str], options: Any) -> Any:
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled))


def with_inner_outputs(path: Path, names: Sequence[str]) -> bytes:
    """The graph of a file with values inside it as more outputs, to lie beside it, where its external data are."""
    more = _field(_GRAPH, b"".join(_field(_OUTPUT, _field(_NAME, name.encode())) for name in names))
    return path.read_bytes() + more


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
