"""`bom.cdx.json`: what went into a bundle, as a CycloneDX ML-BOM, with versions, digests and licences.

It has no date, so that the same inputs give the same bytes. Nothing here needs torch or onnx, since `edgepress build`
writes it anew on the device. A digest of a model or of data is a property of it: a component's hash is that of a file.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...backends.base import TensorSpec
from ...backends.registry import load_backend
from ...errors import InputError
from ...profiles.device.target import Target
from ...profiles.findings.files import read_json
from ...profiles.findings.lineage import LineageStep
from ...profiles.machine.environment import installed
from ...profiles.machine.licences import licences
from .manifest import BOM, FALLBACK, EngineEntry, FileEntry, ModelEntry

SPECIFICATION = "1.6"
# What makes a model's serial number the same wherever it is made (RFC 4122, version 5).
NAMESPACE = uuid.UUID("6f1d2c34-7a0e-5d0b-9d5e-0b8a4c1e7f52")
FALLBACK_FOLDER = f"{Path(FALLBACK).parent.name}/"
UNSTATED = "not stated"
Json = dict[str, Any]


def write_bom(directory: Path, name: str, fields: Mapping[str, Any], files: Mapping[str, FileEntry]) -> None:
    """Write the bill of what lies in a bundle's directory.

    Args:
        name: that the directory will have.
        fields: of the manifest, as `seal` takes them.
        files: what lies in the directory, by name.
    """
    bill = _Bill(
        name=name,
        model=fields["model"],
        target=fields["target"],
        engine=fields["engine"],
        lineage=fields["lineage"],
        tools=fields["tools"],
        before=_tools_before(directory / BOM),
        files=files,
    )
    text = json.dumps(bill.document(), indent=2, sort_keys=True, ensure_ascii=False)
    (directory / BOM).write_text(text + "\n", encoding="utf-8")


def _tools_before(file: Path) -> list[Json]:
    """The tools of the export, where a bundle is finished on its device.

    Raises:
        InputError: the file is not what an export writes.
    """
    if not file.is_file():
        return []
    try:
        return [dict(tool) for tool in read_json(file, "edgepress export")["metadata"]["tools"]["components"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is not what an export writes.", hint="Export the bundle again.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bill:
    """What a bill is made of."""

    name: str
    model: ModelEntry
    target: Target
    engine: EngineEntry
    lineage: tuple[LineageStep, ...]
    tools: Mapping[str, str]
    before: list[Json]
    files: Mapping[str, FileEntry]

    def document(self) -> Json:
        """The whole file."""
        shipped = f"{self.model.graph_digest} {self.target.name} {self.engine.precision}"
        return {
            "$schema": f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": SPECIFICATION,
            "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, shipped)}",
            "version": 1,
            "metadata": {
                "lifecycles": [{"phase": "build"}],
                "component": {"type": "application", "bom-ref": "bundle", "name": self.name},
                "tools": {"components": list(self._tools())},
            },
            "components": [self._source(), *self._data(), self._graph(), *self._engine(), *self._runtimes()],
            "dependencies": list(self._dependencies()),
        }

    def _tools(self) -> Iterator[Json]:
        """What the bundle was made with, that of the export first."""
        made = {str(tool.get("bom-ref")): tool for tool in self.before}
        made |= {tool["bom-ref"]: tool for tool in (_package(*one, "tool") for one in self.tools.items())}
        yield from made.values()

    def _source(self) -> Json:
        """The model as it was given; its licence is the model's own."""
        digest = self.lineage[0].before if self.lineage else self.model.source_digest
        return {
            "type": "machine-learning-model",
            "bom-ref": "source",
            "name": self.model.name,
            "description": f"The model as given, of the kind {self.model.source_kind}.",
            **_licensed((self.model.licence,) if self.model.licence else ()),
            "properties": [_property("digest", digest), *_unlicensed(bool(self.model.licence))],
        }

    def _data(self) -> Iterator[Json]:
        for step in self.lineage:
            for what, digest in step.beside.items() if step.what == "calibrate" else ():
                yield {
                    "type": "data",
                    "bom-ref": f"data:{digest}",
                    "name": what,
                    "description": "Read for ranges; neither a sample nor a file of it is in the bundle.",
                    "data": [{"type": "dataset", "name": what}],
                    "properties": [_property("digest", digest), *_unlicensed(False)],
                }

    def _graph(self) -> Json:
        """What the engine is compiled from, with its ancestors."""
        model = self.model
        parameters = {"inputs": _formats(model.inputs), "outputs": _formats(model.outputs)}
        if data := [{"ref": one["bom-ref"]} for one in self._data()]:
            parameters["datasets"] = data
        names = [one for one in self.files if one.startswith(("model.onnx", FALLBACK_FOLDER))]
        return {
            "type": "machine-learning-model",
            "bom-ref": "graph",
            "name": "model.onnx",
            "pedigree": {"ancestors": self._ancestors(), "notes": "; ".join(map(_told, self.lineage))},
            "modelCard": {"modelParameters": parameters},
            "components": list(self._files(names)),
            "properties": [_property("digest", model.graph_digest)],
        }

    def _ancestors(self) -> list[Json]:
        """Each model that one was made from, once."""
        before = {step.before: f"before {step.what}" for step in reversed(self.lineage) if step.what != "compile"}
        return [
            {"type": "machine-learning-model", "name": name, "properties": [_property("digest", digest)]}
            for digest, name in reversed(before.items())
        ]

    def _engine(self) -> Iterator[Json]:
        if self.engine.path is not None:
            names = [name for name in self.files if name.startswith("engine/")]
            description = f"{self.engine.precision} for {self.target.name}, run by {self.engine.backend}."
            yield {
                "type": "machine-learning-model",
                "bom-ref": "engine",
                "name": self.engine.path,
                "description": description,
                "components": list(self._files(names)),
            }

    def _files(self, names: Iterable[str]) -> Iterator[Json]:
        for name in names:
            hashes = [{"alg": "SHA-256", "content": self.files[name].sha256}]
            yield {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": hashes}

    def _runtimes(self) -> Iterator[Json]:
        """What the device needs to run it, as far as it is a package."""
        for package in load_backend(self.engine.backend).packages:
            yield _package(package, self.tools.get(package) or installed(package), "runtime")

    def _dependencies(self) -> Iterator[Json]:
        graph = ["source", *(one["bom-ref"] for one in self._data())]
        engine = ["graph", *(one["bom-ref"] for one in self._runtimes())]
        built = self.engine.path is not None
        yield {"ref": "bundle", "dependsOn": ["engine"] if built else engine}
        if built:
            yield {"ref": "engine", "dependsOn": engine}
        yield {"ref": "graph", "dependsOn": graph}


def _package(name: str, version: str, part: str) -> Json:
    told = licences(name)
    stated = bool(told.expression or told.names)
    versioned = {"version": version, "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version.partition('+')[0]}"}
    return {
        "type": "library",
        "bom-ref": f"{part}:{name}@{version}",
        "name": name,
        **(versioned if version else {}),
        **({"licenses": [{"expression": told.expression}]} if told.expression else _licensed(told.names)),
        **({} if stated else {"properties": _unlicensed(False)}),
    }


def _licensed(names: tuple[str, ...]) -> Json:
    return {"licenses": [{"license": {"name": name}} for name in names]} if names else {}


def _unlicensed(stated: bool) -> list[Json]:
    """That nobody said a licence is said, too."""
    return [] if stated else [_property("licence", UNSTATED)]


def _property(name: str, value: str) -> Json:
    return {"name": f"edgepress:{name}", "value": value}


def _formats(specs: Iterable[TensorSpec]) -> list[Json]:
    return [{"format": f"{spec.name} {spec.dtype} [{', '.join(map(str, spec.shape))}]"} for spec in specs]


def _told(step: LineageStep) -> str:
    beside = "".join(f", with {what} {digest}" for what, digest in step.beside.items())
    return f"{step.what}: {step.before} to {step.after}{beside}, by {step.by or 'a tool that is not told'}"
