"""What is measured: the engine of a bundle, or an ONNX file compiled for a target, and one input for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from ...backends.base import AxisRange, Engine, Feed, TensorSpec
from ...backends.places import engine_place, place_for
from ...backends.places.job import Job
from ...backends.places.text_runs import Prompts
from ...backends.registry import load_backend, tool_versions
from ...errors import InputError, UnservedError
from ...profiles.device.target import Target, load_target
from ...profiles.findings.profile import Measured, Setup, SizeSplit
from ...profiles.findings.report import Report
from ...profiles.machine.environment import last_cores, this_machine, usable_cores
from ...profiles.machine.held import temporary
from ..bundle.manifest import Bundle, LanguageEntry, check_files, load_bundle, sha256
from ..bundle.seal import load_report
from ..bundle.sizes import size_split
from ..capture.golden import Golden

ONNX_TARGET = "server-cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An engine that runs on this machine.

    Attributes:
        feed: one inference: a golden input of a bundle, a synthetic one for an ONNX file.
        batch: sizes of the free first axis that all inputs share; None where there is no such axis.
        graph: the ONNX file that the engine is compiled from.
        report: of the bundle; None for an ONNX file.
        decoder: what a bundle of a decoder says of it, which has neither a feed nor an ONNX graph; None of all others.
    """

    name: str
    engine: Engine
    feed: Feed
    batch: AxisRange | None
    graph: Path
    report: Report | None = None
    decoder: LanguageEntry | None = None

    @property
    def prompts(self) -> Prompts:
        """What a decoder reads and writes while it is measured."""
        assert self.decoder is not None
        return Prompts.within(self.decoder.context, self.decoder.vocabulary)

    @property
    def target(self) -> Target:
        """What the engine is for."""
        return self.engine.target

    @property
    def measured(self) -> Measured:
        """What a measurement says of it."""
        shapes = {name: f"{'x'.join(map(str, a.shape))} {a.dtype.name}" for name, a in self.feed.items()}
        if self.decoder is not None:
            shapes = {"prompt": str(self.prompts)}
        return Measured(
            name=self.name,
            kind="onnx" if self.report is None else "bundle",
            digest=sha256(self.engine.path),
            target=self.target.name,
            precision=self.engine.precision,
            runtime=load_backend(self.engine.backend).available().version,
            shapes=shapes,
        )

    def size(self) -> SizeSplit:
        """Bytes of the engine's files, of the weights, and of the layers of the graph."""
        if self.decoder is None:
            return size_split(self.graph, self.engine.path)
        files = {one.name: one.stat().st_size for one in sorted(self.engine.path.parent.iterdir()) if one.is_file()}
        return SizeSplit(files=files, weights=0 if self.report is None else self.report.sizes.weights)

    def job(self, setup: Setup) -> Job:
        """What a measuring process is told."""
        return Job(engine=self.engine, threads=setup.threads, affinity=setup.affinity, decoder=self.decoder is not None)


@contextmanager
def open_subject(path: Path, target: str | None = None) -> Iterator[Subject]:
    """The engine at `path`, for as long as the block lasts.

    Args:
        target: what an ONNX file is compiled for; a bundle has its own.

    Raises:
        InputError: neither a bundle nor an ONNX file, or a target for a bundle.
        VerificationError: a file of the bundle was changed.
        UnservedError: the engine is not built, or does not run on this machine.
    """
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        with temporary() as scratch:
            yield _of_onnx(path, load_target(target or ONNX_TARGET), scratch)
        return
    if target is not None:
        raise InputError(f"{path} is a bundle, which has a target.", hint="Leave out --target; it is for .onnx files.")
    yield _of_bundle(path)


def this_setup(threads: int | None) -> Setup:
    """This machine with so many threads, each bound to a core of its own.

    Args:
        threads: all usable cores by default.

    Raises:
        InputError: more threads than cores.
    """
    most = usable_cores()
    count = most if threads is None else threads
    if count > most:
        raise InputError(f"{count} threads on {most} usable cores: they would wait for each other.")
    return Setup(machine=this_machine(), threads=count, affinity=last_cores(count), tools=tool_versions())


def _of_bundle(path: Path) -> Subject:
    bundle = load_bundle(path)
    check_files(bundle)
    manifest, engine = bundle.manifest, bundle.engine
    if engine is None:
        raise UnservedError(
            f"{path}: the engine is {manifest.engine.why}.", hint=f"On the device, run: edgepress build {path}"
        )
    _need(manifest.target)
    if manifest.language is not None:
        return _of_decoder(bundle, engine, manifest.language)
    feed = Golden.load(path / "golden").feeds[0]
    return Subject(
        name=path.resolve().name,
        engine=engine,
        feed=feed,
        batch=_batch(engine.inputs, manifest.model.axes),
        graph=bundle.graph.path,
        report=load_report(path),
    )


def _of_decoder(bundle: Bundle, engine: Engine, entry: LanguageEntry) -> Subject:
    return Subject(
        name=bundle.path.resolve().name,
        engine=engine,
        feed={},
        batch=None,
        graph=engine.path,
        report=load_report(bundle.path),
        decoder=entry,
    )


def _of_onnx(path: Path, target: Target, scratch: Path) -> Subject:
    if find_spec("onnx") is None:
        raise UnservedError(
            "Reading an ONNX file needs onnx, which this installation does not have.",
            hint="Install the host tools: pip install 'edgepress[host]', or measure a bundle.",
        )
    from ..graphs.files import read_graph
    from ..graphs.names import with_names_of_its_own
    from ..graphs.synthesis import synthesize_from_specs

    read_graph(path)  # what is no graph is said before anything is done with it
    graph = read_graph(with_names_of_its_own(path, scratch))
    backend = load_backend(target.backend)
    backend.require(target)
    engine = backend.compile(graph, target, scratch, "fp32")
    _need(target)
    feed = synthesize_from_specs([_one(spec) for spec in graph.inputs], seed=0)
    return Subject(name=path.name, engine=engine, feed=feed, batch=_batch(graph.inputs, {}), graph=graph.path)


def _need(target: Target) -> None:
    """Refuse what cannot be measured here."""
    place, here = place_for(target), this_machine().arch
    if target.arch not in ("any", place.machine.arch) or (place.itself and place.evidence(target) == "emulated"):
        raise UnservedError(
            f"This machine is {here}, {target.name} is {target.arch}: a latency here says nothing of it.",
            hint="Copy the bundle to the device and measure there; the base install of edgepress is enough.",
        )
    engine_place(target)


def _one(spec: TensorSpec) -> TensorSpec:
    """The input with one sample where the first axis is free."""
    free = spec.shape and isinstance(spec.shape[0], str)
    return replace(spec, shape=(1, *spec.shape[1:])) if free else spec


def _batch(inputs: tuple[TensorSpec, ...], axes: Mapping[str, AxisRange]) -> AxisRange | None:
    names = {spec.shape[0] if spec.shape else 0 for spec in inputs}
    name = names.pop() if len(names) == 1 else 0
    if not isinstance(name, str):
        return None
    return axes.get(name, AxisRange(smallest=1, usual=1, largest=1 << 16))
