"""What is measured: the engine of a bundle, or an ONNX file compiled for a target, and one input for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from ...backends.base import AxisRange, Engine, Feed, TensorSpec
from ...backends.places import Local, Place, engine_place, place_for
from ...backends.places.job import Job
from ...backends.places.text_runs import Prompts
from ...backends.registry import load_backend
from ...errors import InputError, UnservedError
from ...profiles.device.target import Target, load_target
from ...profiles.findings.profile import Measured, Setup, SizeSplit
from ...profiles.findings.report import Report
from ...profiles.machine.environment import this_machine
from ...profiles.machine.held import temporary
from ..bundle.manifest import Bundle, LanguageEntry, check_files, load_bundle, sha256
from ..bundle.seal import load_report
from ..bundle.sizes import size_split
from ..capture.golden import Golden

ONNX_TARGET = "server-cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An engine that runs.

    Attributes:
        place: where.
        feed: one inference: a golden input of a bundle, a synthetic one for an ONNX file.
        batch: sizes of the free first axis that all inputs share; None where there is no such axis.
        graph: the ONNX file that the engine is compiled from.
        report: of the bundle; None for an ONNX file.
        decoder: what a bundle of a decoder says of it, which has neither a feed nor an ONNX graph; None of all others.
    """

    name: str
    place: Place
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
            runtime=self.place.tool(self.target),
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
        engine, decoder = self.place.host.engine(self.engine), self.decoder is not None
        return Job(engine=engine, threads=setup.threads, affinity=setup.affinity, decoder=decoder)


@contextmanager
def open_subject(path: Path, target: str | None = None, on: str | None = None) -> Iterator[Subject]:
    """The engine at `path`, for as long as the block lasts.

    Args:
        target: what an ONNX file is compiled for; a bundle has its own.
        on: address of the place where it runs; by default this machine.

    Raises:
        InputError: neither a bundle nor an ONNX file, or a target for a bundle.
        VerificationError: a file of the bundle was changed.
        UnservedError: the engine is not built, or does not run on this machine.
    """
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        with temporary() as scratch:
            yield _of_onnx(path, load_target(target or ONNX_TARGET), scratch, on)
        return
    if target is not None:
        raise InputError(f"{path} is a bundle, which has a target.", hint="Leave out --target; it is for .onnx files.")
    yield _of_bundle(path, on)


def this_setup(threads: int | None, place: Place | None = None) -> Setup:
    """A machine with so many threads, each bound to a core of its own.

    Args:
        threads: all usable cores by default.
        place: on the machine; by default this one.

    Raises:
        InputError: more threads than cores.
    """
    place = Local() if place is None else place
    most = place.threads()
    count = most if threads is None else threads
    if count > most:
        raise InputError(f"{count} threads on {most} usable cores: they would wait for each other.")
    return Setup(machine=place.machine, threads=count, affinity=place.host.cores(count), tools=place.tools())


def _of_bundle(path: Path, on: str | None) -> Subject:
    bundle = load_bundle(path)
    check_files(bundle)
    manifest, engine = bundle.manifest, bundle.engine
    if engine is None:
        raise UnservedError(
            f"{path}: the engine is {manifest.engine.why}.", hint=f"On the device, run: edgepress build {path}"
        )
    place = _place(manifest.target, on)
    if manifest.language is not None:
        return _of_decoder(bundle, place, engine, manifest.language)
    feed = Golden.load(path / "golden").feeds[0]
    return Subject(
        name=path.resolve().name,
        place=place,
        engine=engine,
        feed=feed,
        batch=_batch(engine.inputs, manifest.model.axes),
        graph=bundle.graph.path,
        report=load_report(path),
    )


def _of_decoder(bundle: Bundle, place: Place, engine: Engine, entry: LanguageEntry) -> Subject:
    return Subject(
        name=bundle.path.resolve().name,
        place=place,
        engine=engine,
        feed={},
        batch=None,
        graph=engine.path,
        report=load_report(bundle.path),
        decoder=entry,
    )


def _of_onnx(path: Path, target: Target, scratch: Path, on: str | None) -> Subject:
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
    if on is None:
        load_backend(target.backend).require(target)
    place = _place(target, on)
    directory = scratch / "engine"
    directory.mkdir()
    engine = place.compile(graph, target, directory, "fp32")
    feed = synthesize_from_specs([_one(spec) for spec in graph.inputs], seed=0)
    batch = _batch(graph.inputs, {})
    return Subject(name=path.name, place=place, engine=engine, feed=feed, batch=batch, graph=graph.path)


def _place(target: Target, on: str | None) -> Place:
    """Where a target's engines are measured.

    Raises:
        UnservedError: what is measured there would say nothing of the device.
    """
    place, here = place_for(target, on), this_machine().arch
    emulated = place.itself and place.evidence(target) == "emulated"
    if on is None and (target.arch not in ("any", place.machine.arch) or emulated):
        raise UnservedError(
            f"This machine is {here}, {target.name} is {target.arch}: a latency here says nothing of it.",
            hint="Measure on the device: --on ssh://HOST or adb://SERIAL, or copy the bundle there.",
        )
    place = engine_place(target, on=on)
    if why := place.why_unmeasured(target):
        raise UnservedError(f"{on} shows no latency: {why}.", hint="Measure on the device.")
    return place


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
