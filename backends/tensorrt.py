"""TensorRT and TensorRT-RTX: one implementation, since their Python interfaces nearly agree.

TensorRT builds on the device it runs on. TensorRT-RTX builds anywhere, for GPUs named by compute capability, and the
device finishes the plan when it opens it; its parser also stands in for TensorRT's where that is not installed. How an
engine is built and run is in `onboard`, which does the same on a device that has no edgepress.
"""

from __future__ import annotations

import importlib
import platform
import re
from pathlib import Path
from typing import Any

from ..errors import InputError, UnservedError
from ..profiles.device.precision import PrecisionName, load_precision
from ..profiles.device.target import Target
from ..profiles.findings.layers import Layer
from ..profiles.machine.energy import Meter, find_meter
from . import _cuda
from ._fed_back import FedBack
from ._trtexec import build_script, sizes, workspace_mib
from ._vendor import last_words
from .base import Availability, Backend, Engine, Feed, Graph, Rejection
from .decoding import Decoding, Generation
from .onboard.building import build
from .onboard.kernels import kernels_from_json
from .onboard.machine import power_note
from .onboard.orders import Order, ShapeRanges, order_text
from .onboard.parsing import log_of, parse, rejections
from .onboard.settings import capability_member
from .onboard.source import joined
from .onboard.timing_cache import cache_path

PLAN = "model.plan"
# What inputs and outputs of an engine may be.
TAKEN = frozenset({"float32", "float16", "int32", "int64", "int8", "uint8", "bool"})
_NO_TYPE = "TensorRT takes no {} as input or output; let the model take int32 or float32, and convert before it"


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
        if unknown := [spec for spec in (*graph.inputs, *graph.outputs) if spec.dtype not in TAKEN]:
            # Of these the parser says that some type is not converted, and not which.
            return tuple(Rejection(node=spec.name, reason=_NO_TYPE.format(spec.dtype)) for spec in unknown)
        trt = self._trt()
        found = rejections(parse(trt, _readable(graph), _log(trt)))
        return tuple(Rejection(node=one.node, reason=one.reason, operator=one.operator) for one in found)

    def _compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        trt = self._trt()
        order = order_of(graph, target, precision, self._capabilities(trt, target))
        with _cuda.told():
            built = build(trt, order, _readable(graph), _log(trt), self._timing_cache(trt))
        (directory / PLAN).write_bytes(built.plan)
        notes = (*self._notes(trt, order), *built.notes)
        return Engine.of(graph, directory / PLAN, self.name, target, precision, notes)

    def _capabilities(self, trt: Any, target: Target) -> tuple[str, ...]:
        """The GPUs that it builds for; empty where it builds for the one that it finds."""
        return ()

    def _timing_cache(self, trt: Any) -> str:
        """The file of times of kernels; empty where none are taken."""
        return ""

    def _notes(self, trt: Any, order: Order) -> tuple[str, ...]:
        """What a reader must know of an engine that only this backend makes so."""
        about = (
            f"Built by {self.name} {trt.__version__} on this machine: it runs on this model of GPU "
            "with this version of TensorRT only."
        )
        return tuple(filter(None, (about, power_note())))

    def _open(self, engine: Engine, threads: int | None) -> _cuda.CudaSession:
        # `threads` has no meaning on a GPU.
        trt = self._trt()
        return _cuda.CudaSession(trt, _log(trt), engine, dla_core(engine.target))

    def _inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        with self._open(engine, None) as session:
            session(feed)
            assert isinstance(session, _cuda.CudaSession)
            text = session.information()
            return layers_from_json(text) if text else ()  # TensorRT 8.0 has no inspector

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
    """TensorRT 8.0 to 11: compiles on the device it runs on, so that elsewhere a bundle carries `build.sh`.

    Target options read here, besides the shared one: `dla_core`, the core of the Deep Learning Accelerator that runs
    what it can, where the module has one and TensorRT serves it.
    """

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
        """`build.sh` and what it runs: `build.py` with its order or, where Python has no TensorRT, trtexec."""
        return {
            "build.sh": build_script(graph, target, precision),
            "build.py": self.onboard(),
            "build.json": self.order(graph, target, precision),
        }

    def onboard(self) -> str:
        """`build.py`."""
        return joined()

    def order(self, graph: Graph, target: Target, precision: PrecisionName) -> str:
        """`build.json`."""
        return order_text(order_of(graph, target, precision))

    def _timing_cache(self, trt: Any) -> str:
        gpu = _cuda.gpu()
        return "" if gpu is None else cache_path(gpu.key(), str(trt.__version__), gpu.driver)


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

    def _capabilities(self, trt: Any, target: Target) -> tuple[str, ...]:
        return _capabilities(trt, target)

    def _notes(self, trt: Any, order: Order) -> tuple[str, ...]:
        served = ", ".join(order.capabilities) or "8.0, 8.6, 8.9, 12.0 and later"
        return (
            f"Built by {self.name} {trt.__version__} for compute capability {served}, without a GPU.",
            "The device compiles its kernels when it opens the plan, so that its first opening takes longer.",
        )


def layers_from_json(text: str) -> tuple[Layer, ...]:
    """What the engine inspector says.

    Raises:
        VerificationError: the text is not its JSON, or the engine was not built with detailed profiling verbosity.
    """
    with _cuda.told():
        found = kernels_from_json(text)
    return tuple(
        Layer(
            name=one.name,
            operator=one.operator,
            kernel=one.kernel,
            compute=one.compute,
            integer=one.integer,
            reason=one.reason,
        )
        for one in found
    )


def order_of(graph: Graph, target: Target, precision: PrecisionName, capabilities: tuple[str, ...] = ()) -> Order:
    """What is to be built, in the words of `onboard`: for this process, and for `build.py` on a device.

    Raises:
        InputError: an option of the target is not what it should be, or a free axis has no range.
    """
    free = [spec for spec in graph.inputs if any(isinstance(axis, str) for axis in spec.shape)]
    flags = [flag.lstrip("-").upper() for flag in target.toolchain.build_flags.get(precision, ())]
    return Order(
        graph=f"../{graph.path.name}",
        target=target.name,
        precision=precision,
        made_for=target.toolchain.versions.get("tensorrt", ""),
        ranges={spec.name: ShapeRanges(*sizes(spec, graph)) for spec in free},
        weak=tuple(name for name in flags if name in ("INT8", "FP16", "BF16")),
        typed=load_precision(precision).storage != "float32",
        exact=load_precision(precision).exact,
        sparse=target.sparse_weights,
        workspace=workspace_mib(target),
        dla=dla_core(target),
        capabilities=capabilities,
    )


def dla_core(target: Target) -> int | None:
    """The core of the Deep Learning Accelerator that runs what it can, from the target's option `dla_core`.

    Raises:
        InputError: the option is not a whole number from 0 on.
    """
    core = target.options.get("dla_core")
    if core is not None and (not isinstance(core, int) or isinstance(core, bool) or core < 0):
        raise InputError(f"Target {target.name}: dla_core is {core!r}, expected the number of a core, as 0.")
    return core


def _readable(graph: Graph) -> str:
    if not graph.path.is_file():
        raise InputError(f"{graph.path.name} does not exist in {graph.path.parent}.")
    return str(graph.path.resolve())


def _log(trt: Any) -> Any:
    return log_of(trt, last_words)


def _capabilities(trt: Any, target: Target) -> tuple[str, ...]:
    names = target.options.get("compute_capabilities", [])
    known = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    if not isinstance(names, list):
        raise InputError(f"Target {target.name}: compute_capabilities is {names!r}, expected a list like ['8.6'].")
    for name in names:
        if not re.fullmatch(r"\d+\.\d", name) or capability_member(name) not in known:
            listed = ", ".join(f"{member[2:-1]}.{member[-1]}" for member in known)
            raise InputError(
                f"Target {target.name}: TensorRT-RTX {trt.__version__} does not build for compute capability {name!r}.",
                hint=f"It builds for {listed}.",
            )
    return tuple(names)
