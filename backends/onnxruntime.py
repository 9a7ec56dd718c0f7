"""onnxruntime: CPUs of desktops, single-board computers and phones.

Options of a target:
    format: `onnx` (default) ships the graph and onnxruntime optimizes it when it opens it; `ort` optimizes it here, for
        builds of onnxruntime without an ONNX parser.
    optimize_for: `arm` or `amd64`, for `ort`: whose kernels to optimize for; the target's own architecture by default.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..profiles.device.precision import PrecisionName, load_precision
from ..profiles.device.target import Target
from ..profiles.findings.layers import Layer
from ..profiles.machine.environment import is_emulated, this_machine
from ..profiles.machine.held import temporary
from ._exact import EXACTLY, LAYOUTS, WITHOUT, crashing, exactly, unfused
from ._onnxfile import copy_graph, read_nodes
from ._onnxruntime.decoding import OnnxRuntimeDecoding, OnnxRuntimeGeneration
from ._onnxruntime.loaders import CONFIG, onnxruntime_loaders
from ._ortformat import stable
from ._ortgraph import write_ort_graph
from ._vendor import availability, fit, import_or_explain, refusal, said, unwritten
from .base import Array, Availability, Backend, Engine, Feed, Graph, Rejection, Session
from .decoding import Decoding, Generation
from .loaders.facts import LoaderFacts

# Operators of onnxruntime/docs/OperatorKernels.md (CPU provider) and fusions that multiply matrices: of integers...
INTEGER = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QAttention",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    }
)
# ... and of floats. MatMulNBits stores its weights in few bits, but its activations are float.
FLOAT = frozenset(
    {
        "Attention",
        "Conv",
        "ConvTranspose",
        "Einsum",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "GRU",
        "Gemm",
        "GroupQueryAttention",
        "LSTM",
        "MatMul",
        "MatMulNBits",
        "MultiHeadAttention",
        "NhwcFusedConv",
        "RNN",
    }
)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed: ?)?(Fatal error: )?")
# The ways in which onnxruntime says which node it is about.
_NO_KERNEL = re.compile(r"Could not find an implementation for (?P<operator>\S+) node with name '(?P<node>.*?)'")
_INVALID = re.compile(r"In Node, \(\"(?P<node>.*?)\", .*?Error (?P<reason>[^\n]+)")
_INFERENCE = re.compile(r"Node ?\((?P<node>.*?)\) Op ?\(\w+\) (?P<reason>[^\n]+)")
_UNKNOWN = re.compile(r"(?P<domain>[\w.]*):(?P<operator>\w+)\(-?\d+\) is not a registered function/op")
_UNWRITTEN = "Failed to save ORT format model"
# What the QDQ, layout and NCHWc transformations append to a node's name.
_SUFFIX = re.compile(r"(_token_\d+|_nchwc)$")
_EVENT = "_kernel_time"
# Workers that wait do not spin. Spinning shortens a run with many threads a little, and takes the cores of whatever
# runs next: the camera on a device of four cores, the other arm of a comparison here.
_ENTRIES = {"session.intra_op.allow_spinning": "0"}
_ERROR = 3  # severity: warnings of onnxruntime are about its own internals
_RUNS = 10


class OnnxRuntime(Backend):
    """Ships `model.onnx`, or compiles to `model.ort` and the list of operators that it needs.

    Target options read here: `format` (`onnx` or `ort`), `optimize_for` (`arm` or `amd64`), and `integers`: `exact`,
    `none`, where Q and DQ are computed as they are and all between them is float, or `fast`, the default and what opens
    plainly. x86 processors without VNNI add two products of an unsigned and a signed
    integer in 16 bits, which saturate; exact kernels do not, and are slower.
    """

    name = "onnxruntime"
    modules = ("onnxruntime",)
    packages = ("onnxruntime",)

    def available(self) -> Availability:
        """Compiles and runs wherever it is installed."""
        return availability("onnxruntime", ("onnxruntime", "onnxruntime-gpu"), "edgepress[onnxruntime]")

    def _check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        try:
            _session(graph.path, _options(None), (*crashing(graph.path), *WITHOUT))
        except _errors() as error:
            return _rejections(graph.path, said(error))
        return ()

    def _compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        kind = _choice(target, "format", ("onnx", "ort"), "onnx")
        platform = _choice(target, "optimize_for", ("arm", "amd64"), "arm" if target.arch == "aarch64" else "amd64")
        path = directory / f"model.{kind}"
        notes: tuple[str, ...] = ()
        try:
            if kind == "ort":
                notes = _convert(graph.path, path, platform)
            else:
                # onnxruntime's own word that it takes the graph
                _session(graph.path, _options(None), crashing(graph.path))
        except _errors() as error:
            if _UNWRITTEN in str(error):
                raise unwritten(path.name, error) from error
            raise refusal(self.name, graph, _rejections(graph.path, said(error))) from error
        if kind == "onnx":
            copy_graph(graph.path, path)
        return Engine.of(graph, path, self.name, target, precision, notes)

    def _open(self, engine: Engine, threads: int | None) -> Session:
        options, disabled = _options(threads), crashing(engine.path)
        if _integers(engine.target) == "none":
            opened = _opened(engine, unfused(options), (*disabled, *WITHOUT))
        elif _exact(engine, this_machine().arch):
            opened = exactly(partial(_opened, engine, disabled=(*disabled, *WITHOUT)), options)
        else:
            opened = _opened(engine, options, disabled)
        return OnnxRuntimeSession(engine, opened)

    def as_graph(self, engine: Engine, path: Path) -> bool:
        """Of an `.ort` file; an ONNX file is fused when it is opened, and does not say into what."""
        if engine.path.suffix != ".ort":
            return False
        try:
            write_ort_graph(engine.path, path)
        except _errors():
            return False
        return True

    def loaders(self, facts: LoaderFacts) -> dict[str, str]:
        """In C++ and Python; for processors of phones and boards in the languages of their apps as well."""
        return onnxruntime_loaders(facts)

    def decode(self, engine: Engine, threads: int | None = None) -> Decoding:
        """The graph of a decoder alone; a run with bound memory raises RuntimeError, too."""
        return OnnxRuntimeDecoding(engine, _opened(engine, _options(threads), ()), (*_errors(), RuntimeError))

    def generate(self, engine: Engine, threads: int | None = None) -> Generation:
        """onnxruntime-genai."""
        return OnnxRuntimeGeneration(engine.path.parent, threads)

    def _inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        fit(engine.inputs, feed)
        with temporary() as scratch:
            options = _options(None)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(scratch, "profile"))
            session = _opened(engine, options, crashing(engine.path))
            # Of an engine for another architecture the times say nothing, and may be long.
            timed = _at_home(engine, this_machine().arch) and not is_emulated()
            runs = 1 + (_RUNS if timed else 0)
            for _ in range(runs):
                session.run(None, dict(feed))
            text = Path(session.end_profiling()).read_text(encoding="utf-8")
        try:
            events = json.loads(text)
        except json.JSONDecodeError as error:  # onnxruntime does not notice that a write failed
            cut = ValueError(f"it is cut off in {scratch.parent}")
            raise unwritten("onnxruntime's profile of the engine", cut) from error
        return tuple(layers_of(events, runs))


class OnnxRuntimeSession(Session):
    """An inference session on the CPU."""

    def __init__(self, engine: Engine, session: Any) -> None:
        self._engine = engine
        self._session = session
        self._names = [spec.name for spec in engine.outputs]

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Run one feed; the results are the caller's."""
        fit(self._engine.inputs, feed)
        try:
            return dict(zip(self._names, self._session.run(self._names, dict(feed)), strict=True))
        except _errors() as error:
            raise self._failed(error) from error

    def bind(self, feed: Feed) -> Callable[[], object]:
        """Inputs and outputs are bound to memory of the CPU, and outputs are not made arrays."""
        fit(self._engine.inputs, feed)
        binding = self._session.io_binding()
        arrays = {name: np.asarray(array, order="C") for name, array in feed.items()}
        for name, array in arrays.items():
            binding.bind_cpu_input(name, array)
        for name in self._names:
            binding.bind_output(name)
        return partial(self._again, self._session, binding, arrays)

    def _again(self, session: Any, binding: Any, arrays: Feed) -> object:
        """`arrays` is here so that the memory lives which the binding reads."""
        try:
            session.run_with_iobinding(binding)
        except _errors() as error:
            raise self._failed(error) from error
        return binding

    def close(self) -> None:
        """Drop the session."""
        self._session = None

    def _failed(self, error: Exception) -> InputError:
        return InputError(f"onnxruntime failed to run {self._engine.path.name}: {_first_line(said(error))}")


def session_attempts(engine: Engine, arch: str) -> list[dict[str, str]]:
    """How a program in another language opens an engine as `OnnxRuntime.open` does.

    Args:
        arch: of the machine that opens it.

    Returns:
        Configurations of a session, by onnxruntime's keys: the first that opens is the one.
    """
    # As `crashing`, by the precision: the file lies on the device.
    disabled = (LAYOUTS,) if load_precision(engine.precision).storage == "float16" else ()
    attempts = [_ENTRIES]
    if _exact(engine, arch):
        disabled = (*disabled, *WITHOUT)
        attempts = [{**_ENTRIES, EXACTLY: "1"}, {**_ENTRIES, EXACTLY: "0"}]
    without = {"optimization.disable_specified_optimizers": ";".join(disabled)} if disabled else {}
    return [{**attempt, **without} for attempt in attempts]


def _exact(engine: Engine, arch: str) -> bool:
    """Whether products of integers have to be exact; faults of another processor are none of the device's."""
    return not _at_home(engine, arch) or _integers(engine.target) == "exact"


def _integers(target: Target) -> str:
    return _choice(target, "integers", ("fast", "exact", "none"), "fast")


def _at_home(engine: Engine, arch: str) -> bool:
    """Whether a machine is of the architecture that the engine is for."""
    return engine.target.arch in ("any", arch)


def _options(threads: int | None) -> Any:
    """Session options that every session shares, so that two of them compare."""
    options = import_or_explain("onnxruntime").SessionOptions()
    options.log_severity_level = _ERROR
    for key, value in _ENTRIES.items():
        options.add_session_config_entry(key, value)
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _session(path: Path, options: Any, disabled: Sequence[str] = ()) -> Any:
    session = import_or_explain("onnxruntime").InferenceSession
    return session(path, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled))


def _opened(engine: Engine, options: Any, disabled: Sequence[str]) -> Any:
    try:
        return _session(engine.path, options, disabled)
    except _errors() as error:
        message = f"onnxruntime does not open {engine.path.name}: {_first_line(said(error))}"
        raise InputError(message, hint="Export it again with the onnxruntime that runs it.") from error


def _errors() -> tuple[type[Exception], ...]:
    """The exceptions that onnxruntime raises; they have no common base but Exception."""
    state = import_or_explain("onnxruntime.capi.onnxruntime_pybind11_state")
    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoModel",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
    )
    # The last is what becomes of a message that quotes bytes of a damaged file.
    return *(getattr(state, name) for name in names), UnicodeDecodeError


def _choice(target: Target, option: str, allowed: tuple[str, ...], default: str) -> str:
    value = target.options.get(option, default)
    if value not in allowed:
        raise InputError(f"Target {target.name}: option `{option}` is {value!r}; expected {' or '.join(allowed)}.")
    return str(value)


def _convert(source: Path, path: Path, platform: str) -> tuple[str, ...]:
    """Write `model.ort` and its list of operators; returns notes.

    The settings are those of `onnxruntime.tools.convert_onnx_models_to_ort` for the style `Fixed`; the tool itself
    prints, and writes the path of the model into the list.
    """
    options = _options(None)
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("session.qdqisint8allowed", "1" if platform == "arm" else "0")
    # NCHWc blocks are laid out for x86.
    _session(source, options, disabled=crashing(source) if platform == "amd64" else (LAYOUTS,))
    _write_config(path)
    content = stable(path.read_bytes())
    if content is None:
        return (
            "This onnxruntime lays .ort files out in a way unknown here: their bytes may differ between conversions.",
        )
    path.write_bytes(content)
    return ()


def _write_config(path: Path) -> None:
    """List the operators and types of an `.ort` file for a reduced build, without the path of this machine."""
    handlers = list(logging.root.handlers)
    tools = import_or_explain("onnxruntime.tools.ort_format_model")
    logging.root.handlers[:] = handlers  # the import sets up logging for the whole process
    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    config = path.with_name(CONFIG)
    tools.create_config_from_models([path], config, True)
    config.write_text(config.read_text(encoding="utf-8").replace(str(path), path.name), encoding="utf-8")


def _rejections(path: Path, message: str) -> tuple[Rejection, ...]:
    """The nodes that onnxruntime's complaint is about; it stops at the first kind of fault."""
    if unknown := _UNKNOWN.search(message):
        operator = f"{unknown['domain']}:{unknown['operator']}"
        same = [n for n in read_nodes(path) if f"{n.domain}:{n.operator}" == operator]
        reason = f"onnxruntime has no operator {operator}"
        return tuple(Rejection(node=n.label, reason=reason) for n in same) or (Rejection(node=operator, reason=reason),)
    if found := _NO_KERNEL.search(message):
        reason = f"onnxruntime has no CPU kernel of {found['operator']} for its types"
        return (Rejection(node=found["node"] or found["operator"], reason=reason),)
    if found := _INVALID.search(message) or _INFERENCE.search(message):
        return (Rejection(node=found["node"] or path.name, reason=found["reason"].strip()),)
    return (Rejection(node=path.name, reason=_first_line(message)),)


def _first_line(message: str) -> str:
    return _PREFIX.sub("", message).strip().partition("\n")[0]


def layers_of(events: Sequence[dict[str, Any]], times: int) -> Iterator[Layer]:
    """The nodes that ran, in order; the first run, which still allocates, is left out of the times.

    Args:
        events: of onnxruntime's profile.
        times: runs in it.
    """
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(_EVENT):
            runs.setdefault((event["name"], event["args"].get("node_index", "")), []).append(event)
    for (name, _), seen in runs.items():
        later = seen[len(seen) // times :] or seen
        yield _layer(name.removesuffix(_EVENT), seen[0]["args"], sum(e["dur"] for e in later) / len(later))


def _layer(name: str, facts: dict[str, Any], microseconds: float) -> Layer:
    operator = facts["op_name"]
    return Layer(
        name=_SUFFIX.sub("", name),
        operator=operator,
        kernel=f"{facts['provider']}:{operator}",
        compute=operator in INTEGER | FLOAT,
        integer=operator in INTEGER,
        reason=_reason(facts) if operator in FLOAT else "",
        microseconds=microseconds,
    )


def _reason(facts: dict[str, Any]) -> str:
    """Its inputs are named by type, those packed beforehand left out by onnxruntime."""
    types = [next(iter(one), "") for one in facts.get("input_type_shape", ())]
    return f"its first input arrives as {types[0]}" if types else ""
