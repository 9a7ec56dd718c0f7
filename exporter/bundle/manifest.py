"""The directory that is shipped: its manifest and its hashes.

Nothing here needs torch or onnx: a device reads and checks bundles with the base install.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import to_jsonable_python

from ...backends.base import AxisRange, Engine, Graph, TensorSpec
from ...errors import InputError, VerificationError
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target, check_target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.lineage import LineageStep
from ...profiles.reading.hashed import sha256 as sha256
from ...profiles.reading.json_file import read_json
from ...profiles.reading.validator import first_fault, value_of
from .files import AGAIN, regular_files
from .made_there import PLAN as BUILT_THERE
from .made_there import vouched
from .misnamed import no_bundle

# What an engine must reach, in dB: below 0 the noise would be larger than the signal.
Bound = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
# Below 0 dB the difference is larger than what FP32 gives, as where that is next to nothing (candidates/made_up.py);
# the largest and the smallest float32, 3.4e38 and 1.4e-45, are 1668 dB apart.
GoldenBound = Annotated[float, Field(ge=-1700, allow_inf_nan=False, strict=True)]
SCHEMA = 1
MANIFEST = "manifest.json"
SIGNATURE = "model.sig"  # signs the manifest too, so it is in none of its lists
BOM = "bom.cdx.json"
FALLBACK = "fallback/model.onnx"
LATENCY = "latency.npz"
# These carry dates and measurements, so they are hashed apart from what the same inputs reproduce.
MEASURED_FILES = ("report.html", "report.json", "report.md", LATENCY)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """sha256 (hex) and size in bytes of one file."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """The graph in the bundle and the model it came from.

    Attributes:
        source_digest: of the model that was captured; where it was pruned or trained before, `lineage` has the first.
        licence: of the model, where its source states one.
    """

    name: str
    source_kind: str
    source_digest: str
    graph_digest: str
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    axes: Mapping[str, AxisRange] = field(default_factory=dict)
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEntry:
    """The engine in the bundle; `path` is None where it is not built yet, and `why` says so."""

    backend: str
    precision: PrecisionName
    path: str | None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackEntry:
    """The float graph in `fallback/`, for a device that measures which precision is faster there."""

    precision: PrecisionName
    graph_digest: str
    minimum_sqnr_db: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageEntry:
    """What makes the bundle one of a decoder, whose engine is a directory that the runtime's own library opens.

    Attributes:
        context: positions that it was trained for.
        vocabulary: how many tokens there are.
        tokenizer: text can be given to it; otherwise tokens alone.
        golden: sequences of the golden text.
        fp32_nats, own_nats: mean divergence a token, from FP32 and from the engine as it was proven, that a device may
            show on the golden text.
    """

    context: Annotated[int, Field(ge=1, strict=True)]
    vocabulary: Annotated[int, Field(ge=1, strict=True)]
    tokenizer: bool
    golden: Annotated[int, Field(ge=1, strict=True)]
    fp32_nats: Bound
    own_nats: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredEntry:
    """What depends on the run: dates, figures, and the files that carry them."""

    date: str
    evidence: tuple[Evidence, ...]
    metrics: Mapping[str, Any]
    environment: Mapping[str, Any]
    files: Mapping[str, FileEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`manifest.json`. Paths are relative, with forward slashes.

    Attributes:
        minimum_sqnr_db: what an engine must reach on the golden inputs, in dB, on every output; 0 of a decoder, whose
            bounds are in `language`.
        minimum_graph_db: the same against what its own graph gives for them; None where that is not told.
        golden: how many golden inputs there are; None in bundles of earlier revisions.
        fallback: None where the choice of the precision is settled.
        language: None of what is no decoder.
        lineage: from the source to the engine; empty in bundles of earlier revisions.
        files: every file of the bundle but the manifest and those under `measured`.
    """

    schema: int = SCHEMA
    model: ModelEntry
    target: Target
    recipe: Mapping[str, Any]
    engine: EngineEntry
    minimum_sqnr_db: GoldenBound
    minimum_graph_db: Bound | None = None
    golden: Annotated[int, Field(ge=1, strict=True)] | None = None
    fallback: FallbackEntry | None = None
    language: LanguageEntry | None = None
    lineage: tuple[LineageStep, ...] = ()
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    measured: MeasuredEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on disk and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def graph(self) -> Graph:
        """The graph that the engine is compiled from."""
        model = self.manifest.model
        return Graph(
            path=self.path / "model.onnx",
            inputs=model.inputs,
            outputs=model.outputs,
            opset=model.opset,
            digest=model.graph_digest,
            axes=model.axes,
        )

    @property
    def fallback(self) -> Graph | None:
        """The float graph that goes along, None where the choice of the precision is settled."""
        entry = self.manifest.fallback
        return None if entry is None else replace(self.graph, path=self.path / FALLBACK, digest=entry.graph_digest)

    @property
    def engine(self) -> Engine | None:
        """The engine, None where it is still to be built on the device."""
        entry = self.manifest.engine
        return None if entry.path is None else self._engine(entry.path)

    @property
    def built_there(self) -> Engine | None:
        """The engine that `engine/build.py` wrote on the device, which the manifest knows nothing of; None without."""
        if self.manifest.engine.path is not None or not (self.path / BUILT_THERE).is_file():
            return None
        return self._engine(BUILT_THERE)

    def _engine(self, path: str) -> Engine:
        entry = self.manifest.engine
        return Engine(
            path=self.path / path,
            backend=entry.backend,
            target=self.manifest.target,
            precision=entry.precision,
            inputs=self.manifest.model.inputs,
            outputs=self.manifest.model.outputs,
        )

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.path / "report.html"


def load_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest; hashes are not checked here.

    Raises:
        InputError: not a bundle, or a manifest of another schema.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise no_bundle(path, MANIFEST)
    data = read_json(file, hint=AGAIN)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise InputError(f"{file} has schema {found!r}; this edgepress reads {SCHEMA}.")
    try:
        manifest = value_of(Manifest, data)
    except ValidationError as error:
        raise InputError(f"{file}: {first_fault(error)}.") from error
    check_target(manifest.target, f"of {file}")
    return Bundle(path=path, manifest=manifest)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest, sorted and indented, so that the same values give the same bytes."""
    text = json.dumps(to_jsonable_python(manifest), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")


def hash_files(directory: Path) -> tuple[dict[str, FileEntry], dict[str, FileEntry]]:
    """Entries of all files below the directory but the manifest and the signature: (reproducible, measured).

    Raises:
        VerificationError: something there is neither a file nor a directory.
    """
    entries = {
        name: file_entry(path) for name, path in regular_files(directory).items() if name not in (MANIFEST, SIGNATURE)
    }
    measured = {name: entry for name, entry in entries.items() if name in MEASURED_FILES}
    return {name: entry for name, entry in entries.items() if name not in measured}, measured


def file_entry(path: Path) -> FileEntry:
    """The entry of one file."""
    return FileEntry(sha256=sha256(path), size=path.stat().st_size)


def check_files(bundle: Bundle, *, made_there: bool = False) -> int:
    """Compare every file with the manifest; returns how many were checked.

    Args:
        made_there: an engine that `engine/build.py` wrote beside its order is no fault, if its record vouches for it.

    Raises:
        VerificationError: a file is missing, changed, or not in the manifest; all of them are named.
    """
    expected = {**bundle.manifest.files, **bundle.manifest.measured.files}
    reproducible, measured = hash_files(bundle.path)
    found = {**reproducible, **measured}
    faults = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    made: Mapping[str, str] = {}
    if made_there and bundle.manifest.engine.path is None:
        made = vouched(bundle.path, *({name: one.sha256 for name, one in each.items()} for each in (expected, found)))
    others = {name: made.get(name, "is not in the manifest") for name in found.keys() - expected.keys()}
    faults += [f"{name} {why}" for name, why in sorted(others.items()) if why]
    faults += [
        f"{name} was changed" for name in sorted(expected.keys() & found.keys()) if expected[name] != found[name]
    ]
    if bundle.manifest.engine.path not in (None, *expected):
        faults.append(f"the engine {bundle.manifest.engine.path} is not among the manifest's files")
    if faults:
        raise VerificationError(f"{bundle.path}: {'; '.join(faults)}.", hint=AGAIN)
    return len(expected)
