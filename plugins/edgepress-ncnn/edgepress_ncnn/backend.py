"""ncnn: CPUs of phones, single-board computers and desktops.

pnnx converts the graph on the host, the ncnn on the device opens it. ncnn's tensors have no axis of samples, so a graph
is converted for one sample, and a session runs the samples of a batch one after the other.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgepress.backends.authoring import fit, import_or_explain, refusal
from edgepress.backends.base import Availability, Backend, Engine, Feed, Graph, Rejection, Session
from edgepress.errors import UnservedError
from edgepress.profiles.device.precision import PrecisionName
from edgepress.profiles.device.target import Target
from edgepress.profiles.findings.layers import Layer
from edgepress.profiles.machine.held import temporary

from .convert import convert, unfit
from .form import PARAM, Form
from .session import COMPUTE, NcnnSession, loaded

_REMEDY = 'Install it: pip install "edgepress-ncnn[host]"'


class Ncnn(Backend):
    """Converts a graph to `model.param` and `model.bin`, in float32."""

    name = "ncnn"
    modules = ("ncnn",)
    packages = ("ncnn", "pnnx")
    # A graph that it converted wrongly ends the process that opens it: it is opened once where it is compiled.
    fragile = True

    def available(self) -> Availability:
        """It runs where ncnn is installed, and compiles where pnnx is too."""
        runtime, compiler = _version("ncnn"), _version("pnnx")
        missing = [name for name, found in (("ncnn", runtime), ("pnnx", compiler)) if not found]
        return Availability(
            version=f"ncnn {runtime}" if runtime else "",
            compile=not missing,
            run=bool(runtime),
            reason=f"{' and '.join(missing)} not installed" if missing else "",
            remedy=_REMEDY if missing else "",
        )

    def _check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        if found := unfit(graph):
            return found
        with temporary() as scratch:
            return convert(graph, scratch)

    def _compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        if precision != "fp32":
            raise UnservedError(f"ncnn is given fp32 here, not {precision}.", hint="Choose --precision fp32.")
        if found := unfit(graph) or convert(graph, directory):
            raise refusal(self.name, graph, found)
        return Engine.of(graph, directory / PARAM, self.name, target, precision)

    def _open(self, engine: Engine, threads: int | None) -> Session:
        import_or_explain("ncnn")
        return NcnnSession(engine, threads)

    def _inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        """Ncnn tells its layers, and no times of them."""
        fit(engine.inputs, feed)
        Form.load(engine.path)  # for what it refuses
        net = loaded(engine.path, None)
        return tuple(
            Layer(
                name=layer.name,
                operator=layer.type,
                kernel=f"ncnn:{layer.type}",
                compute=layer.type in COMPUTE,
                integer=False,
            )
            for layer in net.layers()
            if layer.type not in ("Input", "Split")
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
