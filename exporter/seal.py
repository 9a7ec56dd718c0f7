"""Close a bundle directory: reports in every form, then the manifest with the hash of each file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from ..errors import InputError
from ..profiles.budget import Budget, judge
from ..profiles.measure import Measurement
from ..profiles.report import SCHEMA, Report, markdown, rows
from .bundle import LATENCY, Manifest, Measured, hash_files, write_manifest


def seal(directory: Path, fields: Mapping[str, Any], report: Report, latency: Mapping[str, Measurement]) -> Manifest:
    """Judge the budget, and write `report.md`, `report.json`, the raw latency samples and `manifest.json`.

    Args:
        fields: the manifest's fields but `files` and `measured`, which are read off the directory and the report.
        latency: the raw samples, kept in `latency.npz` in nanoseconds.
    """
    report = replace(report, budget=judge(Budget.of(fields["recipe"]), report))
    (directory / "report.md").write_text(markdown(report), encoding="utf-8")
    (directory / "report.json").write_text(_text(report), encoding="utf-8")
    if latency:
        samples = {name: np.asarray(found.samples) for name, found in latency.items()}
        np.savez_compressed(directory / LATENCY, **samples)  # type: ignore[arg-type]
    reproducible, measured_files = hash_files(directory)
    measured = Measured(
        date=report.date,
        evidence=report.evidence,
        metrics={what: {"fp32": before, "shipped": after} for what, before, after in rows(report)},
        environment={"machine": asdict(report.machine)},
        files=measured_files,
    )
    manifest = Manifest(**fields, files=reproducible, measured=measured)
    write_manifest(directory, manifest)
    return manifest


def load_report(directory: Path) -> Report:
    """The report of a bundle, from its `report.json`.

    Raises:
        InputError: it is missing, damaged or of another schema.
    """
    file = directory / "report.json"
    try:
        report = TypeAdapter(Report).validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{file}: `{'.'.join(map(str, first['loc']))}`: {first['msg']}.") from error
    if report.schema != SCHEMA:
        raise InputError(f"{file} has schema {report.schema}; this edgepress reads {SCHEMA}.")
    return report


def _text(report: Report) -> str:
    data = to_jsonable_python(report, inf_nan_mode="strings")
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
