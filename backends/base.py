"""The interface of a backend and the values that cross it.

A backend turns a `Graph` into an `Engine`, opens it as a `Session`, and says which kernels run it. The public methods
validate; an implementation overrides the ones with a leading underscore. Vendor SDKs are imported inside those only.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..errors import InputError, UnservedError
from ..profiles.device.precision import PrecisionName
from ..profiles.device.target import Target
from ..profiles.findings.layers import Layer
from ..profiles.machine.energy import Meter, find_meter
from ..profiles.timing.measure import Arm, CallArm
from .decoding import Decoding, Generation
from .graph import Array, AxisRange, Feed, Graph, SampleAxes, TensorSpec
from .loaders.facts import LoaderFacts

# The values that cross the interface are imported from here, with it.
__all__ = [
    "Array",
    "Availability",
    "AxisRange",
    "Backend",
    "Engine",
    "Feed",
    "Graph",
    "Rejection",
    "SampleAxes",
    "Session",
    "TensorSpec",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a target's compiler refuses a node.

    Attributes:
        operator: of the node; empty where the compiler does not say.
    """

    node: str
    reason: str
    operator: str = ""

    def __str__(self) -> str:
        return f"{self.node}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """What a backend can do on this machine.

    Attributes:
        version: `openvino 2026.4.1`, or empty where the runtime is not installed.
        compile: it can compile here.
        run: it can run here.
        reason: why not, one clause, empty where both are true.
        remedy: what to install or do.
    """

    version: str
    compile: bool
    run: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What a backend compiled.

    Attributes:
        path: the file to open; its siblings in the same directory belong to it.
        target: what it was compiled for; its options are those of the runtime that opens it.
        notes: what a reader of the report must know, one sentence each.
    """

    path: Path
    backend: str
    target: Target
    precision: PrecisionName
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, graph: Graph, path: Path, backend: str, target: Target, precision: PrecisionName, notes: Iterable[str] = ()
    ) -> Engine:
        """What a backend compiled of a graph, whose inputs and outputs it has."""
        return cls(
            path=path,
            backend=backend,
            target=target,
            precision=precision,
            inputs=graph.inputs,
            outputs=graph.outputs,
            notes=tuple(notes),
        )


class Session(abc.ABC):
    """An open engine: `session(feed) -> {output: array}`. A context manager that releases the runtime."""

    @abc.abstractmethod
    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Run one feed, `{input: array}` as the engine's specs say; return `{output: array}` owned by the caller."""

    def bind(self, feed: Feed) -> Callable[[], object]:
        """One inference of this feed without what Python adds to it: what is timed.

        Where a runtime allows it the inputs are handed over here, once, and the outputs stay in its buffers, as in its
        own benchmark; otherwise each call is like any other. What is returned keeps the arrays that it reads.
        """
        return lambda: self(feed)

    def arm(self, feed: Feed) -> Arm:
        """One side of a measurement: inferences of this feed, timed where the engine is."""
        return CallArm(self.bind(feed))

    def close(self) -> None:  # noqa: B027  (most runtimes release with the object)
        """Release what the runtime holds."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Backend(abc.ABC):
    """Compiles, opens and inspects; one instance serves any number of graphs.

    Attributes:
        name: the entry-point name.
        modules: what it imports of the vendor's when it opens an engine.
        packages: distributions whose versions decide its engines and figures.
        finishes_on_device: where this machine cannot compile, `recipe_files` lets the device do it.
        deterministic: compiling the same graph twice gives the same bytes.
        fragile: its parser or compiler has crashed on graphs; places let it judge and compile in a process of its own.
    """

    name: str
    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    deterministic: bool = True
    fragile: bool = False
    finishes_on_device: bool = False

    @abc.abstractmethod
    def available(self) -> Availability:
        """What this machine allows; never raises."""

    def check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        """Nodes that the target's compiler would refuse, each with the reason; empty where all are accepted.

        Raises:
            UnservedError: the parser is not installed here.
        """
        self._need("compile")
        return self._check(graph, target)

    def compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        """Compile the graph into `directory`, which exists and is empty.

        Args:
            precision: the precision of the graph; a runtime that would lower `fp32` by itself is told not to.

        Raises:
            UnservedError: this machine cannot compile for the target.
            InputError: the compiler refuses the graph; the message names the node and the reason.
        """
        self._need_compiler(target)
        return self._compile(graph, target, directory, precision)

    def open(self, engine: Engine, threads: int | None = None) -> Session:
        """Open the engine.

        Args:
            threads: intra-op threads; None leaves the runtime's own choice.

        Raises:
            UnservedError: this machine cannot run it.
            InputError: the file is not an engine that this runtime reads.
        """
        self._need("run")
        if not engine.path.is_file():
            raise InputError(f"Engine {engine.path.name} does not exist in {engine.path.parent}.")
        return self._open(engine, threads)

    def inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        """The layers of the opened engine, read from the runtime while it runs `feed`.

        Raises:
            UnservedError: this machine cannot run it.
        """
        self._need("run")
        return self._inspect(engine, feed)

    @abc.abstractmethod
    def _check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]: ...

    @abc.abstractmethod
    def _compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine: ...

    @abc.abstractmethod
    def _open(self, engine: Engine, threads: int | None) -> Session: ...

    @abc.abstractmethod
    def _inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]: ...

    def native_float(self, target: Target) -> PrecisionName:
        """What the runtime itself makes of an FP32 graph on this machine where nobody tells it otherwise."""
        return "fp32"

    def exactly(self, target: Target) -> Target | None:
        """The target as which engines of integers compute in float32 what is float in them; None where they do."""
        return None

    def as_graph(self, engine: Engine, path: Path) -> bool:
        """Write what was compiled as ONNX, node by node as it runs, with weights beside `path`; whether it was done."""
        return False

    def meter(self) -> Meter | str:
        """What measures the energy of its inferences on this machine, or why nothing does."""
        return find_meter(gpu=False)

    def obstacle(self, target: Target) -> str:
        """Why this machine cannot compile for the target, one clause; empty where it can."""
        here = self.available()
        return "" if here.compile else here.reason

    def why_not_opened(self, compiled_by: str) -> str:
        """Why an engine of another version is not opened by the one here, one clause; empty where it may be.

        Args:
            compiled_by: as `Availability.version` said it where the engine was compiled.
        """
        return ""

    def require(self, target: Target) -> None:
        """Check, before any work is done, that this machine can compile or leave the rest to the device.

        Raises:
            UnservedError: it can do neither.
        """
        if not self.finishes_on_device:
            self._need_compiler(target)

    def recipe_files(self, graph: Graph, target: Target, precision: PrecisionName) -> dict[str, str]:
        """Name to text of the files that let a device finish the build; empty where there is nothing to finish."""
        return {}

    def onboard(self) -> str:
        """Text of a program that builds and runs its engines where Python is too old for edgepress; empty without one.

        It needs Python 3.6 and what the device has, and with `--serve JOB` it speaks the protocol of `places.child`.
        """
        return ""

    def order(self, graph: Graph, target: Target, precision: PrecisionName) -> str:
        """What that program is told to build; empty without one."""
        return ""

    def decode(self, engine: Engine, threads: int | None = None) -> Decoding:
        """Open the engine of a decoder, as its proof does.

        Raises:
            UnservedError: this runtime has no such engines, or not on this machine.
        """
        raise UnservedError(f"{self.name} opens no decoders.")

    def generate(self, engine: Engine, threads: int | None = None) -> Generation:
        """Open the directory of a decoder's engine with the vendor's own library.

        Raises:
            UnservedError: there is none, or it is not installed.
        """
        raise UnservedError(f"{self.name} has no library that writes text.")

    def loader(self, engine: Engine) -> dict[str, str]:
        """Name to text of the files that open an engine as it was proven; empty where opening it plainly does."""
        return {}

    def loaders(self, facts: LoaderFacts) -> dict[str, str]:
        """Name to text of the files that run one engine in an app: source code and a page on it; empty without any."""
        return {}

    def _need_compiler(self, target: Target) -> None:
        if why := self.obstacle(target):
            hint = self.available().remedy or None
            raise UnservedError(f"{self.name} cannot compile on this machine: {why}.", hint=hint)

    def _need(self, ability: str) -> None:
        here = self.available()
        if not getattr(here, ability):
            raise UnservedError(
                f"{self.name} cannot {ability} on this machine: {here.reason}.", hint=here.remedy or None
            )
