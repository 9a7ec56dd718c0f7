"""TensorRT and TensorRT-RTX: one implementation, since their Python interfaces nearly agree.

TensorRT builds on the device it runs on. TensorRT-RTX builds anywhere, for GPUs named by compute capability, and the
device finishes the plan when it opens it; its parser also stands in for TensorRT's where that is not installed. What
differs between versions 8.5 and 11 is found by looking for it, never by comparing version numbers.
"""

from __future__ import annotations

import importlib
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InputError, RefusedError, UnservedError
from ..profiles.device.precision import PrecisionName, load_precision
from ..profiles.device.target import Target
from ..profiles.findings.layers import Layer
from ..profiles.machine.energy import Meter, find_meter
from . import _cuda
from ._fed_back import FedBack
from ._inspector import layers_from_json
from ._trtexec import build_script, sizes, workspace_mib
from ._vendor import last_words, refusal
from .base import Availability, Backend, Engine, Feed, Graph, Rejection
from .decoding import Decoding, Generation

PLAN = "model.plan"


class _Shared(Backend):
    """What both have in common.

    Target options read here: `workspace_mib`, scratch memory a kernel may use, 2048 by default.

    `deterministic` is False. TensorRT chooses kernels by timing them. TensorRT-RTX 1.7.1, over compute capabilities
    8.0, 8.6, 8.9 and 12.0: one convolution came out the same in every build; a residual network was the same in ten
    fresh processes, but when built again in one process 10 of 80 builds had other bytes.
    """

    deterministic = False
    fragile = True
    module: str
    title: str
    remedy: str
    builds_without_device: bool

    def available(self) -> Availability:
        """What this machine allows: building (for TensorRT itself) and running need a CUDA device."""
        try:
            version = f"{self.name} {self._trt().__version__}"
        except (ImportError, OSError, RuntimeError) as error:  # all three occur where a library is missing
            absent = isinstance(error, ModuleNotFoundError) and error.name == self.module
            reason = f"{self.title} is not installed" if absent else f"{self.title} does not load: {error}"
            return Availability(version="", compile=False, run=False, reason=reason, remedy=self.remedy)
        reason, remedy = _cuda.missing()
        return Availability(
            version=version,
            compile=self.builds_without_device or not reason,
            run=not reason,
            reason=reason,
            remedy=remedy,
        )

    def why_not_opened(self, compiled_by: str) -> str:
        """A plan is opened by the version that built it alone."""
        here = self.available().version
        return "" if compiled_by == here else f"its plan was built by {compiled_by}, and this machine has {here}"

    def _check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        return _rejections(_parse(self._trt(), graph), graph)

    def _compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        trt = self._trt()
        weak = _weak_flags(trt, target, precision)
        parsed = _parse(trt, graph, weak=bool(weak))
        if rejections := _rejections(parsed, graph):
            raise refusal(self.title, graph, rejections)
        config = _config(parsed, graph, target, precision, weak)
        notes = self._configure(trt, config, target)
        plan = parsed.builder.build_serialized_network(parsed.network, config)
        if plan is None:
            raise _build_failed(self.title, graph, parsed.log.errors())
        (directory / PLAN).write_bytes(plan)
        return Engine.of(graph, directory / PLAN, self.name, target, precision, notes)

    def _configure(self, trt: Any, config: Any, target: Target) -> tuple[str, ...]:
        """Set what only this backend has, and return the engine's notes."""
        return (
            f"Built by {self.name} {trt.__version__} on this machine: it runs on this model of GPU "
            "with this version of TensorRT only.",
        )

    def _open(self, engine: Engine, threads: int | None) -> _cuda.CudaSession:
        # `threads` has no meaning on a GPU.
        trt = self._trt()
        return _cuda.CudaSession(trt, _log(trt), engine)

    def _inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        with self._open(engine, None) as session:
            session(feed)
            assert isinstance(session, _cuda.CudaSession)
            return layers_from_json(session.information())

    def decode(self, engine: Engine, threads: int | None = None) -> Decoding:
        """The plan alone, whose cache goes over to the GPU and back with every run."""
        return FedBack(self.open(engine, threads), engine.inputs)

    def generate(self, engine: Engine, threads: int | None = None) -> Generation:
        """There is no library that opens the plan of a decoder.

        Raises:
            UnservedError: always.
        """
        raise UnservedError(
            f"{self.title} has no library that writes text with an engine of an ONNX graph.",
            hint="Run the engine in a loop of your own, which feeds present back as past; tokenizer/ has its tokens.",
        )

    def meter(self) -> Meter | str:
        """The GPU's own."""
        return find_meter(gpu=True)

    def _trt(self) -> Any:
        return importlib.import_module(self.module)


class TensorRt(_Shared):
    """TensorRT 8.5 to 11: compiles on the device it runs on, so that elsewhere a bundle carries `build.sh`."""

    name = "tensorrt"
    module = "tensorrt"
    modules = (module,)
    packages = ("tensorrt",)
    title = "TensorRT"
    remedy = "On a Jetson it is part of JetPack: use the system's python3; elsewhere pip install 'edgepress[tensorrt]'."
    builds_without_device = False
    finishes_on_device = True

    def obstacle(self, target: Target) -> str:
        """As usual, and a plan for another architecture: TensorRT does not cross-build."""
        machine = platform.machine()
        foreign = "" if target.arch in ("any", machine) else f"it does not cross-build, and this machine is {machine}"
        return super().obstacle(target) or foreign

    def recipe_files(self, graph: Graph, target: Target, precision: PrecisionName) -> dict[str, str]:
        """`build.sh`, which builds the engine with trtexec."""
        return {"build.sh": build_script(graph, target, precision)}


class TensorRtRtx(_Shared):
    """TensorRT-RTX 1.7 and later: compiles without a GPU, for desktop GPUs.

    Target options read here, besides the shared one: `compute_capabilities`, a list like `["8.6", "8.9"]`; one plan
    serves them all. Without it the plan serves 8.0, 8.6, 8.9, 12.0 and later (NVIDIA, "CPU-Only AOT and TensorRT-RTX
    Engines").
    """

    name = "tensorrt-rtx"
    module = "tensorrt_rtx"
    modules = (module,)
    packages = ("tensorrt-rtx",)
    title = "TensorRT-RTX"
    remedy = "Run pip install 'edgepress[rtx]'."
    builds_without_device = True

    def _configure(self, trt: Any, config: Any, target: Target) -> tuple[str, ...]:
        names = _capabilities(trt, target)
        if names:
            config.num_compute_capabilities = len(names)
        for index, name in enumerate(names):
            config.set_compute_capability(getattr(trt.ComputeCapability, _member(name)), index)
        served = ", ".join(names) or "8.0, 8.6, 8.9, 12.0 and later"
        return (
            f"Built by {self.name} {trt.__version__} for compute capability {served}, without a GPU.",
            "The device compiles its kernels when it opens the plan, so that its first opening takes longer.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parsed:
    """A network and what must live as long as it: the parser owns the weights."""

    trt: Any
    builder: Any
    network: Any
    parser: Any
    accepted: bool
    log: Any


def _parse(trt: Any, graph: Graph, weak: bool = False) -> _Parsed:
    if not graph.path.is_file():
        raise InputError(f"{graph.path.name} does not exist in {graph.path.parent}.")
    log = _log(trt)
    log.lines.clear()
    builder = trt.Builder(log)
    network = builder.create_network(_creation_flags(trt, weak))
    parser = trt.OnnxParser(network, log)
    # By file and not by bytes: external data are found beside it.
    accepted = bool(parser.parse_from_file(str(graph.path.resolve())))
    return _Parsed(trt=trt, builder=builder, network=network, parser=parser, accepted=accepted, log=log)


def _creation_flags(trt: Any, weak: bool) -> int:
    """EXPLICIT_BATCH is required before 10 and gone in 11; STRONGLY_TYPED came with 10."""
    kinds = getattr(trt, "NetworkDefinitionCreationFlag", None)
    wanted = ["EXPLICIT_BATCH", *(() if weak else ("STRONGLY_TYPED",))]
    return sum(1 << int(getattr(kinds, name)) for name in wanted if hasattr(kinds, name))


def _weak_flags(trt: Any, target: Target, precision: PrecisionName) -> tuple[str, ...]:
    """Builder flags that lower precision, where this TensorRT has them and the toolchain's build command asks for them.

    Empty means a strongly typed network (or, before 10, FP32): the graph's own types hold. One source for this and for
    `build.sh`, so that both build the same engine.
    """
    names = [flag.lstrip("-").upper() for flag in target.toolchain.build_flags.get(precision, ())]
    return tuple(name for name in names if name in ("INT8", "FP16", "BF16") and hasattr(trt.BuilderFlag, name))


def _config(parsed: _Parsed, graph: Graph, target: Target, precision: PrecisionName, weak: tuple[str, ...]) -> Any:
    trt = parsed.trt
    config = parsed.builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mib(target) << 20)
    # What the inspector tells of kernels and formats, it tells only of engines built so.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for name in weak:
        config.set_flag(getattr(trt.BuilderFlag, name))
    if target.sparse_weights and hasattr(trt.BuilderFlag, "SPARSE_WEIGHTS"):
        # It only allows such kernels: weights that are not 2:4 run as dense ones.
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if load_precision(precision).exact and hasattr(trt.BuilderFlag, "TF32"):
        # TF32 keeps 10 bits of mantissa and is on by default; FP32 must mean it.
        config.clear_flag(trt.BuilderFlag.TF32)
    free = [spec for spec in graph.inputs if any(isinstance(axis, str) for axis in spec.shape)]
    if free:
        profile = parsed.builder.create_optimization_profile()
        for spec in free:
            profile.set_shape(spec.name, *sizes(spec, graph))
        config.add_optimization_profile(profile)
    return config


def _rejections(parsed: _Parsed, graph: Graph) -> tuple[Rejection, ...]:
    """The parser's errors, then what it accepts but would compute otherwise than ONNX says; one a node."""
    found: dict[str, Rejection] = {}
    for rejection in (*_errors(parsed, graph), *_misread(parsed)):
        found.setdefault(rejection.node, rejection)
    return tuple(found.values())


def _errors(parsed: _Parsed, graph: Graph) -> Iterator[Rejection]:
    file = graph.path.name
    for index in range(parsed.parser.num_errors):
        error = parsed.parser.get_error(index)
        # Before 10 an error knows the number of its node only, and -1 where it concerns the whole file.
        name = error.node_name() if hasattr(error, "node_name") else ""
        operator = error.node_operator() if hasattr(error, "node_operator") else ""
        node = name or (f"node {error.node()}" if error.node() >= 0 else file)
        yield Rejection(node=node, reason=_reason(error, operator or "of this node"), operator=operator)
    if not parsed.accepted and not parsed.parser.num_errors:
        yield Rejection(node=file, reason=parsed.log.errors())
    if parsed.accepted and not parsed.network.num_outputs:
        yield Rejection(node=file, reason="it holds no graph")


def _reason(error: Any, operator: str) -> str:
    text = error.desc()
    # What a parser does not know it takes for a plugin.
    if "Plugin not found" in text or "not found in plugin registry" in text:
        return f"TensorRT has no operator {operator}"
    if text.strip() == "false":  # an assertion of the parser's that says no more than that it does not hold
        return f"TensorRT's parser cannot build operator {operator}"
    if "has type Int32" in text:
        return "it dequantizes int32, and TensorRT only 8 bits and fewer: leave the biases of quantized layers float"
    lines = [_plain(line) for line in text.splitlines() if "catchCudaError" not in line]
    return "; ".join(line for line in lines if line and not line.startswith("Invalid Node")) or error.func()


def _misread(parsed: _Parsed) -> Iterator[Rejection]:
    """Q/DQ that the parser takes for INT8 though ONNX says otherwise.

    It only warns of a zero point that is not INT8 (of UINT8 since TensorRT 10.1), and then clips at 127 what should
    reach 255. It says nothing of a QuantizeLinear without zero point, which is UINT8 in ONNX; the network shows that,
    as every parser from 8.5 on passes an INT8 zero point on as the layer's third input.
    """
    node = ""
    for severity, message in parsed.log.lines:
        if started := re.match(r"Parsing node: (.*) \[\w+\]$", message):
            node = started[1]
        elif severity == "WARNING" and "zero_point" in message:
            yield Rejection(
                node=node, reason="its zero point is not INT8, but TensorRT reads it so; make it INT8 and 0"
            )
    if not parsed.accepted:
        return
    for layer in map(parsed.network.get_layer, range(parsed.network.num_layers)):
        if layer.type.name == "QUANTIZE" and layer.num_inputs < 3 and layer.get_output(0).dtype.name == "INT8":
            yield Rejection(node=layer.name, reason="it has no zero point, which means UINT8; give it an INT8 one of 0")


def _capabilities(trt: Any, target: Target) -> tuple[str, ...]:
    names = target.options.get("compute_capabilities", [])
    known = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    if not isinstance(names, list):
        raise InputError(f"Target {target.name}: compute_capabilities is {names!r}, expected a list like ['8.6'].")
    for name in names:
        if not re.fullmatch(r"\d+\.\d", name) or _member(name) not in known:
            listed = ", ".join(f"{member[2:-1]}.{member[-1]}" for member in known)
            raise InputError(
                f"Target {target.name}: TensorRT-RTX {trt.__version__} does not build for compute capability {name!r}.",
                hint=f"It builds for {listed}.",
            )
    return tuple(names)


def _member(capability: str) -> str:
    return f"SM{capability.replace('.', '')}"


def _build_failed(title: str, graph: Graph, errors: str) -> RefusedError | UnservedError:
    message = f"{title} could not build {graph.path.name}: {errors}."
    if re.search(r"out of memory|insufficient memory|OutOfMemory|cudaError", errors):
        return UnservedError(message, hint="Free device memory, or lower the target's option workspace_mib.")
    return RefusedError(message)


def _plain(line: str) -> str:
    """A line of TensorRT without where in its sources it arose, nor a full stop."""
    return re.sub(r"\s*In \w+ at /[^\s)]+", "", line).strip().rstrip(".")


@cache
def _log(trt: Any) -> Any:
    """One logger a process: TensorRT keeps the first it is given, and ignores others as long as that lives.

    Its `lines` are (severity, message) of warnings, of errors, and of each node as its parsing starts.
    """

    def begin(self: Any) -> None:
        trt.ILogger.__init__(self)
        self.lines = []

    def log(self: Any, severity: Any, message: str) -> None:
        parsing = message.startswith("Parsing node: ")
        if parsing:
            last_words(message)
        if parsing or severity.name not in ("INFO", "VERBOSE"):
            self.lines.append((severity.name, message))

    def errors(self: Any) -> str:
        """The last three errors on one line, without the echo that a missing GPU leaves in all of them."""
        said = [_plain(text) for severity, text in self.lines if "ERROR" in severity and "catchCudaError" not in text]
        return "; ".join(dict.fromkeys(said[-3:])) or "no reason given"

    # A class statement cannot name a base that is known only once the vendor's module is loaded.
    return type("Log", (trt.ILogger,), {"__init__": begin, "log": log, "errors": errors})()
